"""`petclassify data preview`: what augmentation does to a data set's own photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from petclassify.config import Augmentation, Resize
from petclassify.errors import DataError, ImageError, UsageError
from petclassify.files import replaceable, written_whole
from petclassify.images.index import Index
from petclassify.images.photo import read_pixels
from petclassify.images.read_only import require_outside
from petclassify.images.signed_png import is_signed
from petclassify.learn.tuning.views import changed_views
from petclassify.report.plots import PREVIEW_SOFTWARE, PreviewRow, draw_preview

ROWS, COLUMNS = 6, 7
GREY = (128, 128, 128)
SHOWN_SHARE = 0.875  # of the shorter side, as most pretrained networks are shown it


def preview(index: Index, changes: Augmentation, image_size: int, seed: int, out: Path) -> None:
    """Draw a grid: a photo a row, as prediction sees it, then changed at random.

    Args:
        index: the data set; its classes take turns.
        changes: what may change.
        image_size: side of the window in pixels.
        seed: which photos, and which changes.
        out: the PNG to write.

    Raises:
        UsageError: the file is no .png, would lie in the data set, or is there and no preview.
        DataError: none of the photos tried can be read.
        EnvironmentFault: the PNG cannot be written.

    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out}: --out names a .png file")
    require_outside(index, out, "--out")
    if replaceable(out).is_file() and not is_signed(out, PREVIEW_SOFTWARE):
        raise UsageError(f"{out}: is there, and no preview of petclassify. Name another with --out")
    resize = Resize(round(image_size / SHOWN_SHARE), image_size, "bicubic")
    rows: list[PreviewRow] = []
    reason = ""
    photos = _in_turn(index, seed)
    paths = [path for path, _ in photos]
    for number, (path, class_name) in enumerate(photos):
        if len(rows) == ROWS:
            break
        try:
            plain = read_pixels(path, resize)
        except ImageError as error:
            reason = str(error)
            continue
        changed = [
            changed_views(paths, resize, changes, GREY, (seed, epoch))(number)
            for epoch in range(1, COLUMNS)
        ]
        rows.append(PreviewRow(class_name, [plain, *changed]))
    if not rows:
        raise DataError(f"{index.root}: none of the photos can be read ({reason})")
    with written_whole(out) as temporary:
        draw_preview(rows, temporary)


def _in_turn(index: Index, seed: int) -> list[tuple[Path, str]]:
    """Photos at random, the classes taking turns."""
    generator = np.random.default_rng(seed)
    samples = [sample for split in index.splits.values() for sample in split]
    by_class: list[list[Path]] = [[] for _ in index.class_names]
    for place in generator.permutation(len(samples)):
        by_class[samples[place].label].append(samples[place].path)
    turns = max(map(len, by_class))
    return [
        (photos[turn], index.class_names[label])
        for turn in range(turns)
        for label, photos in enumerate(by_class)
        if turn < len(photos)
    ]
