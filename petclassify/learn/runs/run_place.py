"""Where a run is written: in a folder of its own, that no other command writes meanwhile.

What a run left that was refused or killed before it learnt anything stands in nobody's way:
its place is free. What `--resume` goes on with was started with the same options.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from petclassify.errors import EnvironmentFault, UsageError
from petclassify.learn.claims import claimed

log = logging.getLogger(__name__)

RUNS = Path("models")

LOCK = ".lock"
_FREE_TO_CHANGE = {"out", "cache", "resume", "tensorboard"}
_BEFORE_LEARNING = {"config.json", "data.json"}
_HALF_WRITTEN = re.compile(r"\.[a-z0-9_]{8}\.tmp")  # what `files.written_whole` writes to


@contextmanager
def new_place(out: Path | None, default_name: str) -> Iterator[Path]:
    """Make a folder for a new run, and keep other commands out of it until the run ends.

    Args:
        out: where; None takes `models/<default_name>`, numbered when that is taken.
        default_name: data set and backbone.

    Raises:
        UsageError: `out` holds something already, or another command is at work there.
        EnvironmentFault: the folder cannot be made.

    """
    with ExitStack() as held:
        yield _claim_new(out, held) if out else _claim_numbered(default_name, held)


@contextmanager
def place_to_resume(out: Path | None, default_name: str, asked: dict[str, Any]) -> Iterator[Path]:
    """Open the folder of a run to go on with, or make it if the run never came so far.

    Args:
        out: where; None takes the last `models/<default_name>`.
        default_name: data set and backbone.
        asked: the options; they must be those that the run was started with.

    Raises:
        UsageError: other options, a folder that no run made, or another command is at work
            there.
        EnvironmentFault: the folder cannot be made.

    """
    path = out or _last_numbered(default_name)
    if path is None or not path.exists() or (path.is_dir() and is_free(path)):
        place = path or RUNS / default_name
        log.info(
            "%s: no epoch was finished there; a new run starts, from the cached features", place
        )
        with new_place(path, default_name) as made:
            yield made
        return
    try:
        before = json.loads((path / "config.json").read_text(encoding="utf-8"))
        changed = _differing(before.get("asked", before), asked)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: not a run folder, so --resume cannot go on there") from error
    if changed:
        raise UsageError(
            f"{path}: this run was started with other options ({'; '.join(changed)}). "
            "Give the same ones with --resume, name another run by --out, or train anew without it"
        )
    with _claimed_run(path):
        clear_half_written(path)
        yield path


def _claim_new(out: Path, held: ExitStack) -> Path:
    with _faults_of_making(out):
        out.mkdir(parents=True, exist_ok=True)
        if is_free(out):
            held.enter_context(_claimed_run(out))
            if is_free(out):  # still, now that nobody else can write there
                return _emptied(out)
    if (out / "config.json").is_file() and not (out / "metrics.json").is_file():
        raise UsageError(
            f"{out}: not empty: a run that was stopped. Add --resume, or choose another --out"
        )
    raise UsageError(f"{out}: not empty. Choose another --out, or remove it")


def _claim_numbered(default_name: str, held: ExitStack) -> Path:
    with _faults_of_making(RUNS):
        RUNS.mkdir(exist_ok=True)
        for number in itertools.count(1):
            path = RUNS / (default_name if number == 1 else f"{default_name}-{number}")
            with suppress(UsageError):
                if path.is_dir() or not os.path.lexists(path):
                    return _claim_new(path, held)
    raise AssertionError("unreachable: the numbers do not end")


def _claimed_run(path: Path) -> AbstractContextManager[None]:
    busy = f"{path}: another command is at work on this run. Wait for it, or choose another --out"
    return claimed(path / LOCK, busy)


@contextmanager
def _faults_of_making(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentFault(
            f"{path}: the run folder cannot be made ({error.strerror}). "
            "Choose another with --out DIR"
        ) from error


def is_free(path: Path) -> bool:
    """Whether a folder holds nothing, or only what a run writes before it learns anything."""
    names = whole_names(path)
    if not names:
        return True
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        return names <= _BEFORE_LEARNING and {"data", "backbone", "fit"} <= set(config)
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _emptied(path: Path) -> Path:
    for name in _BEFORE_LEARNING:
        (path / name).unlink(missing_ok=True)
    clear_half_written(path)
    return path


def whole_names(path: Path) -> set[str]:
    """What a folder holds besides the lock and half-written files of a run."""
    names = {entry.name for entry in path.iterdir()}
    return {n for n in names if n != LOCK and not _HALF_WRITTEN.fullmatch(n)}


def _last_numbered(name: str) -> Path | None:
    """The last of `models/<name>`, `models/<name>-2`, ..."""
    numbered = re.compile(re.escape(name) + r"(?:-(\d+))?")
    found = {
        int(match[1] or 1): path
        for path in (RUNS.iterdir() if RUNS.is_dir() else ())
        if (match := numbered.fullmatch(path.name)) and path.is_dir()
    }
    return found[max(found)] if found else None


def clear_half_written(folder: Path) -> None:
    """Remove the temporary files of writes that a kill cut short."""
    for place in (folder, folder / "resume"):
        for entry in place.iterdir() if place.is_dir() else ():
            if _HALF_WRITTEN.fullmatch(entry.name):
                entry.unlink(missing_ok=True)


def _differing(before: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Options that were other ones then, with both values."""
    changed = []
    for name, value in asked.items():
        was = before.get(name)
        if name in _FREE_TO_CHANGE or was == value:
            continue
        if isinstance(value, dict) and isinstance(was, dict):
            changed += _differing(was, value)
        else:
            option = "DATA" if name == "data" else f"--{name.replace('_', '-')}"
            changed.append(f"{option} was {_shown(was)}, is {_shown(value)}")
    return changed


def _shown(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "given" if value else "not given"
    return str(value)
