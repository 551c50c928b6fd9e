"""The one reading of all photos before a fit from random weights, which has no frozen pass.

It finds what cannot be read, and what the zoo's networks are normalised by: the mean and the
deviation of each channel over the training photos.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from petclassify.config import Resize
from petclassify.errors import ImageError
from petclassify.learn.data.ahead import decoded_ahead
from petclassify.learn.progress import track

_PHOTOS_AHEAD = 128
_MIN_STD = 1 / 255  # of a channel that is the same everywhere


@dataclass(frozen=True)
class FirstRead:
    """What one reading found.

    Attributes:
        unreadable: the photos that cannot be read, by digest.
        moments: by digest the mean of each channel and of its square, (2, 3), in shares of
            white, over the network's window.

    """

    unreadable: Mapping[str, ImageError]
    moments: Mapping[str, NDArray[np.float64]]

    def channels(self, digests: Iterable[str]) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel over photos, in shares of white."""
        moments = np.array([self.moments[digest] for digest in digests], np.float64).mean(axis=0)
        mean = moments[0]
        std = np.sqrt(np.maximum(moments[1] - mean**2, _MIN_STD**2))
        return mean.tolist(), std.tolist()


def read_once(photos: Mapping[str, Path], resize: Resize, max_unreadable: int) -> FirstRead:
    """Decode every photo once; stop early once more than allowed cannot be read.

    Args:
        photos: where each photo lies, by the digest of its content.
        resize: the window.
        max_unreadable: how many photos may be unreadable.

    """
    unreadable: dict[str, ImageError] = {}
    moments: dict[str, NDArray[np.float64]] = {}
    with track(len(photos), "check", "photos") as advance:
        decoded = decoded_ahead(photos.items(), resize, _PHOTOS_AHEAD)
        for done, (digest, outcome) in enumerate(decoded, start=1):
            if isinstance(outcome, ImageError):
                unreadable[digest] = outcome
            else:
                values = outcome.reshape(-1, 3) / np.float32(255)
                # Summed in float32, a million small values come out too small.
                moments[digest] = np.stack(
                    [one.mean(axis=0, dtype=np.float64) for one in (values, np.square(values))]
                )
            advance(done)
            if len(unreadable) > max_unreadable:
                break
    return FirstRead(unreadable, moments)
