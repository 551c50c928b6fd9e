"""The data check as two files: check.json for programs, check.html for people."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from markupsafe import Markup

from petclassify.cores import usable_cores
from petclassify.errors import ImageError, UsageError
from petclassify.files import disk_faults_named, write_whole
from petclassify.images.photo import read_image
from petclassify.report.check_kinds import Kind, kinds_of
from petclassify.report.check_result import CheckResult
from petclassify.report.html import GENERATOR, picture_uri, render_page

SHOWN = 60  # findings of a kind; check.json has all
SHOWN_COPIES = 6  # of one photo
PICTURE_SIDE = 220
# By which a check's own files are told, and in how many of their first bytes.
_MARKS = {"check.json": b'"petclassify": "', "check.html": GENERATOR}
_MARKED_BYTES = 1 << 16


def refuse_foreign(folder: Path) -> None:
    """Raise UsageError where a file that the check would replace was not written by a check.

    Raises:
        UsageError: so it is.

    """
    for name, mark in _MARKS.items():
        path = folder / name
        if path.is_file():
            with path.open("rb") as stream:
                ours = mark in stream.read(_MARKED_BYTES)
            if not ours:
                raise UsageError(
                    f"{path}: is there, and of no data check. Name another folder with --out"
                )


def write_check(result: CheckResult, folder: Path) -> None:
    """Write check.json and check.html into a folder, which is made; other files there stay.

    Raises:
        EnvironmentFault: the folder cannot be written.

    """
    with disk_faults_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(result.to_dict(), indent=2) + "\n"
    write_whole(folder / "check.json", content.encode())
    write_whole(folder / "check.html", render_check(result))


def render_check(result: CheckResult) -> bytes:
    """The page, pictures inside."""
    kinds = kinds_of(result)
    return render_page(
        "check.html",
        data=result.root.resolve().name or str(result.root),
        backbone=result.backbone,
        accuracy=result.labels.accuracy if result.labels else None,
        total=result.total,
        counts=result.counts,
        of_class=Counter(photo.class_name for photo in result.files.photos),
        class_names=result.class_names,
        flat=result.flat,
        kinds=kinds,
        notes=result.notes,
        shown=SHOWN,
        shown_copies=SHOWN_COPIES,
        pictures=_pictures(result.root, kinds),
    )


def _pictures(root: Path, kinds: list[Kind]) -> dict[str, Markup | None]:
    """A small picture of every photo that the page shows; None of one that is gone by now."""
    names = list(
        dict.fromkeys(
            name
            for kind in kinds
            if kind.layout != "lines"
            for finding in kind.findings[:SHOWN]
            for name, _ in finding.photos[:SHOWN_COPIES]
        )
    )

    def read(name: str) -> Markup | None:
        try:
            return picture_uri(read_image(root / name, PICTURE_SIDE), PICTURE_SIDE)
        except ImageError:
            return None

    with ThreadPoolExecutor(usable_cores()) as pool:
        return dict(zip(names, pool.map(read, names), strict=True))
