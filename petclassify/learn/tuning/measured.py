"""Choices made by measuring, kept, so that the same command does the same thing again.

Two number formats may be as fast as each other, and a race between them may end either
way; a seed would then not reproduce a run. So the first choice for a network on this
machine stands.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from petclassify.errors import EnvironmentFault
from petclassify.files import write_whole

FILE = "measured.json"


def measured_once(folder: Path, question: str, measure: Callable[[], str]) -> str:
    """Answer a question by measuring, or as it was answered before.

    Args:
        folder: of the caches.
        question: what is chosen, for which network.
        measure: makes the choice.

    """
    key = f"{question}, torch {torch.__version__}, {platform.node()}, {torch.get_num_threads()}"
    path = folder / FILE
    known = _read(path)
    if key not in known:
        answer = measure()
        known = {key: answer} | _read(path)  # another run may have answered meanwhile
        # A cache that cannot be written only means measuring again.
        with suppress(EnvironmentFault, OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(known, indent=1).encode())
    return known[key]


def _read(path: Path) -> dict[str, str]:
    """What is known; nothing where the file is missing or damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: value for key, value in known.items() if isinstance(value, str)}
