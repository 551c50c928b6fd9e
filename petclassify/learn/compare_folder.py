"""A comparison's folder: what it was asked, what is finished in it, and its table and picture.

A call that goes on must ask the same; `photos` stands for the data set's listing, since other
photos would be split otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from petclassify.config import ZOO_PREFIX, Augmentation, default_fit
from petclassify.errors import UsageError
from petclassify.files import disk_faults_named, write_whole, written_whole
from petclassify.images.index import Index
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.learn.runs.run_place import is_free, whole_names
from petclassify.report.comparison import Comparison, draw_comparison

CACHE = "cache"
_OPTIONS = {"photos": "photos (--exclude counts)"}
_FREE = {"networks", "out", "exclude"}  # may differ in a call that goes on; photos tells of lists


@dataclass(frozen=True)
class CompareConfig:
    """One `petclassify compare`.

    Attributes:
        data: the data set.
        networks: timm names and `zoo/NAME`.
        epochs: of each network from scratch; None where `minutes` is given, or the default.
        minutes: of each network from scratch, in place of epochs.
        image_size: side of the window of networks from scratch; None takes their own.
        batch_size: photos per step.
        augmentation: of the training photos.
        seed: decides the split and everything random.
        max_bad: share of the photos that may be unreadable.
        out: the comparison's folder.
        exclude: list of photos to leave out, as `data check --write-exclude` makes it.
        photos: a digest of their listing, which `compare` fills in.

    """

    data: Path
    networks: tuple[str, ...]
    epochs: int | None
    minutes: float | None
    image_size: int | None
    batch_size: int
    augmentation: Augmentation
    seed: int
    max_bad: float
    out: Path
    exclude: Path | None = None
    photos: str = ""


def finished_before(config: CompareConfig) -> list[str]:
    """The networks that are finished in the folder, of a call with the same options.

    Raises:
        UsageError: the options differ, or the folder holds something else.

    """
    path = config.out / "comparison.json"
    asked = _asked(config)
    if not path.exists():
        with disk_faults_named(config.out):
            if config.out.is_dir() and whole_names(config.out):
                raise UsageError(f"{config.out}: not empty. Choose another --out, or remove it")
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before = dict(content["asked"])
        finished = [str(row["network"]) for row in content["networks"]]
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise UsageError(f"{path}: not a comparison that petclassify wrote") from error
    changed = [_OPTIONS.get(name, name) for name in asked if asked[name] != before.get(name)]
    if changed and not finished and _nothing_is_learnt(config.out):
        return []
    if changed:
        raise UsageError(
            f"{config.out}: this comparison was made with other {', '.join(changed)}. Go on with "
            "the same options and photos, or give another --out"
        )
    return [name for name in finished if RunFolder(run_path(config, name)).is_finished]


def _nothing_is_learnt(out: Path) -> bool:
    """Whether each network was refused, or stopped, before it learnt anything."""
    return all(is_free(run) for run in out.iterdir() if run.is_dir() and run.name != CACHE)


def listing_of(index: Index) -> str:
    """A digest of every photo's path, class, and size in bytes: other photos split otherwise."""
    digest = hashlib.sha256()
    for split, samples in index.splits.items():
        for sample in samples:
            name = os.path.relpath(sample.path, index.root)
            about = f"{split}\0{name}\0{sample.label}\0{_size_bytes(sample.path)}\0"
            digest.update(os.fsencode(about))
    return digest.hexdigest()


def _size_bytes(path: Path) -> int:
    """The size of a file; 0 of one that is gone, which training will say."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def run_path(config: CompareConfig, network: str) -> Path:
    """Where the run folder of a network lies."""
    return config.out / network.replace("/", "-")


def write_comparison(config: CompareConfig, comparison: Comparison) -> None:
    """Write comparison.json, comparison.csv and, once there is a row, comparison.png."""
    write_whole(config.out / "comparison.json", comparison.to_json(asked=_asked(config)).encode())
    write_whole(config.out / "comparison.csv", comparison.to_csv().encode())
    if comparison.rows:
        with written_whole(config.out / "comparison.png") as temporary:
            draw_comparison(comparison, temporary)


def _asked(config: CompareConfig) -> dict[str, object]:
    """What must be the same for rows to be comparable."""
    asked = asdict(config) | {"data": str(config.data.resolve())}
    return {name: value for name, value in asked.items() if name not in _FREE}


def title_of(config: CompareConfig) -> str:
    """Over the picture: the data set, and what each network got."""
    name = config.data.resolve().name
    if config.minutes:
        budget = f"{config.minutes:g} minutes of training"
    else:
        epochs = config.epochs or default_fit(ZOO_PREFIX, "none").epochs
        budget = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    return f"{name}: {budget} for each network from scratch; of pretrained networks the head"
