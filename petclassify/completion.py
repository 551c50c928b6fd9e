"""What <Tab> completes beyond names of options and files: networks, and public data sets.

The functions are given what was typed, and load what they need when they are called, since this
module is loaded by every command. torch is never loaded; see `learn.backbones.timm_names`.
"""

from __future__ import annotations

import os
from contextlib import suppress

from petclassify.config import ZOO_PREFIX


def backbones(incomplete: str) -> list[str]:
    """Names that --backbone takes; timm's 1,300 only once a letter of one is typed."""
    try:
        from petclassify.learn.backbones.sources import PACKAGED_WEIGHTS
        from petclassify.learn.backbones.timm_names import timm_names
        from petclassify.learn.zoo import NETWORKS
    except ImportError:  # the base install trains nothing
        return []
    near = [*PACKAGED_WEIGHTS, *(f"{ZOO_PREFIX}{name}" for name in NETWORKS)]
    far = sorted(timm_names()) if incomplete else []
    return [name for name in dict.fromkeys([*near, *far]) if name.startswith(incomplete)]


def several_backbones(incomplete: str) -> list[str]:
    """The same for the last of some names with commas between."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in backbones(last)]


def weights(incomplete: str) -> list[str]:
    """The words that --weights takes in place of a file."""
    return _unless_a_path(["pretrained", "none"], incomplete)


def data_sets(incomplete: str) -> list[str]:
    """Public data sets that DATA may name, in place of a folder."""
    return _unless_a_path(public_sets(incomplete), incomplete)


def public_sets(incomplete: str) -> list[str]:
    """Names of public data sets."""
    from petclassify.images.public_sets import PUBLIC_SETS

    return [name for name in PUBLIC_SETS if name.startswith(incomplete)]


def _unless_a_path(names: list[str], incomplete: str) -> list[str]:
    """Nothing where a file or folder here begins alike: then shells complete that."""
    with suppress(OSError), os.scandir() as entries:
        if any(entry.name.startswith(incomplete) for entry in entries):
            return []
    return [name for name in names if name.startswith(incomplete)]
