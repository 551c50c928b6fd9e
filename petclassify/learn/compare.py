"""`petclassify compare`: networks trained the same way on the same split, side by side.

Each network has a run folder of its own below the comparison's, so what is finished is not
done again, what was interrupted goes on, and what fails is a row less. A network of the zoo
is trained from scratch within the budget; of a pretrained one the head is fitted, which has
no epochs. The comparison keeps features and measured choices in a cache of its own, so that
no network profits from earlier runs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from petclassify.config import (
    UNBOUNDED_EPOCHS,
    ZOO_PREFIX,
    Augmentation,
    FitConfig,
    TrainConfig,
    default_fit,
    default_weights,
)
from petclassify.errors import DataError, PetclassifyError, UsageError
from petclassify.files import disk_faults_named, write_whole, written_whole
from petclassify.images.exclusions import leave_out
from petclassify.images.index import Index, read_index
from petclassify.images.read_only import require_outside
from petclassify.learn import zoo
from petclassify.learn.backbones.backbone import require_known
from petclassify.learn.claims import claimed
from petclassify.learn.compared import read_compared
from petclassify.learn.preflight import check_request
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.learn.runs.run_place import (
    LOCK,
    clear_half_written,
    is_free,
    whole_names,
)
from petclassify.learn.train import train
from petclassify.learn.tuning.processes import is_under_torchrun
from petclassify.report.comparison import Compared, Comparison, draw_comparison

log = logging.getLogger(__name__)

_CACHE = "cache"
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


def compare(config: CompareConfig) -> Comparison:
    """Train what is not trained yet, and set all networks side by side.

    Networks that an earlier call with the same options finished in the same folder stay in
    the comparison. Writes comparison.csv, comparison.json and comparison.png after each one.

    Raises:
        UsageError: unknown networks, a folder that holds something else or lies in the data set,
            or several processes.
        DataError: see `images.index.read_index`.
        PetclassifyError: why the last network failed, if all of them did.

    """
    if is_under_torchrun():
        raise UsageError("compare runs in one process: its networks would wait for one another")
    for network in config.networks:
        require_known(network)
    index = read_index(config.data)
    require_outside(index, config.out, "--out")
    if config.exclude is not None:
        index = leave_out(index, config.exclude)
    config = replace(config, photos=_listing(index))
    _finished_before(config)  # a folder of something else is left as it is
    with disk_faults_named(config.out):
        config.out.mkdir(parents=True, exist_ok=True)
    busy = f"{config.out}: another command is at work there. Wait for it, or choose another --out"
    with claimed(config.out / LOCK, busy):
        clear_half_written(config.out)
        finished = _finished_before(config)
        if not finished:
            _write(config, Comparison(_title(config), (), {}))
        return _compare_into(config, finished)


def _compare_into(config: CompareConfig, finished: Sequence[str]) -> Comparison:
    """Compare in a folder that this process has claimed."""
    log.info("features: in a cache of the comparison's own, so that its seconds compare")
    rows: list[Compared] = []
    failures: dict[str, str] = {}
    fault: Exception | None = None
    for network in dict.fromkeys((*finished, *config.networks)):
        try:
            rows.append(_trained(_train_config(config, network), config.photos))
        except DataError:  # of the photos, so of every network
            raise
        except Exception as error:
            fault = error
            known = isinstance(error, PetclassifyError)
            failures[network] = str(error) if known else f"{type(error).__name__}: {error}"
            log.warning("%s failed: %s", network, failures[network])
            log.debug("", exc_info=error)
        _write(config, Comparison(_title(config), tuple(rows), dict(failures)))
    if fault is not None and not rows:
        raise fault
    return Comparison(_title(config), tuple(rows), failures)


def _train_config(config: CompareConfig, network: str) -> TrainConfig:
    weights = default_weights(network)
    fit = FitConfig()
    image_size = None
    if zoo.is_zoo(network):
        usual = default_fit(network, weights)
        fit = replace(
            usual,
            epochs=config.epochs or (UNBOUNDED_EPOCHS if config.minutes else usual.epochs),
            minutes=config.minutes or 0.0,
            batch_size=config.batch_size,
            patience=0,
            augmentation=config.augmentation,
        )
        image_size = config.image_size
    run = _run_path(config, network)
    return TrainConfig(
        data=config.data,
        backbone=network,
        weights=weights,
        image_size=image_size,
        seed=config.seed,
        out=run,
        max_bad=config.max_bad,
        cache=config.out / _CACHE / run.name,
        fit=fit,
        resume=run.exists(),
        exclude=config.exclude,
    )


def _trained(config: TrainConfig, photos: str) -> Compared:
    """A network's figures, from its run folder if it is finished, else after training it.

    Raises:
        UsageError: the photos are not those of the networks before.

    """
    assert config.out is not None
    assert config.cache is not None
    folder = RunFolder(config.out)
    if not folder.is_finished:
        log.info("%s:", config.backbone)
        if config.weights == "pretrained":  # else the features of an interrupted run cost nothing
            shutil.rmtree(config.cache, ignore_errors=True)
        index = check_request(config)
        if _listing(index) != photos:  # hours may lie between two networks
            raise UsageError(
                f"{config.data}: its photos are not those that this comparison began with. Put "
                "them back and repeat the command, or compare anew with another --out"
            )
        train(config, index)
    return read_compared(config.backbone, folder)


def _finished_before(config: CompareConfig) -> list[str]:
    """What is finished in the folder, after making sure that its options are the same."""
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
    return [name for name in finished if RunFolder(_run_path(config, name)).is_finished]


def _nothing_is_learnt(out: Path) -> bool:
    """Whether each network was refused, or stopped, before it learnt anything."""
    return all(is_free(run) for run in out.iterdir() if run.is_dir() and run.name != _CACHE)


def _listing(index: Index) -> str:
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


def _run_path(config: CompareConfig, network: str) -> Path:
    return config.out / network.replace("/", "-")


def _write(config: CompareConfig, comparison: Comparison) -> None:
    write_whole(config.out / "comparison.json", comparison.to_json(asked=_asked(config)).encode())
    write_whole(config.out / "comparison.csv", comparison.to_csv().encode())
    if comparison.rows:
        with written_whole(config.out / "comparison.png") as temporary:
            draw_comparison(comparison, temporary)


def _asked(config: CompareConfig) -> dict[str, object]:
    """What must be the same for rows to be comparable."""
    asked = asdict(config) | {"data": str(config.data.resolve())}
    return {name: value for name, value in asked.items() if name not in _FREE}


def _title(config: CompareConfig) -> str:
    name = config.data.resolve().name
    if config.minutes:
        budget = f"{config.minutes:g} minutes of training"
    else:
        epochs = config.epochs or default_fit(ZOO_PREFIX, "none").epochs
        budget = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    return f"{name}: {budget} for each network from scratch; of pretrained networks the head"


def parse_networks(text: str) -> tuple[str, ...]:
    """Names from a list with commas; each once.

    Raises:
        UsageError: there are none.

    """
    names: Sequence[str] = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--networks names none. Give some, such as zoo/lenet5,zoo/resnet18")
    return tuple(dict.fromkeys(names))
