"""`petclassify train`: from class folders to a run folder with a model file in it.

    frozen pass -> split -> head -> calibrate -> judge on test -> export through the gate

The head's strength and the temperature come from out-of-fold predictions over train and
val together; what ships is then fitted on all of them. Test photos pass through the
frozen network too, but their labels are looked at once, at the end.
"""

from __future__ import annotations

import datetime
import logging
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

import petclassify
from petclassify.config import TrainConfig
from petclassify.files import write_whole
from petclassify.images.index import SPLITS, Index, Split
from petclassify.learn.backbones import load_backbone
from petclassify.learn.calibration import fit_temperature
from petclassify.learn.dataset import (
    Dataset,
    Member,
    prepare_dataset,
    require_usable,
    split_dataset,
)
from petclassify.learn.export import export_model
from petclassify.learn.feature_cache import FeatureCache, cache_folder
from petclassify.learn.frozen import FrozenPass
from petclassify.learn.head import HeadSearch, search_head
from petclassify.learn.network import assemble, save_checkpoint
from petclassify.learn.run_folder import RunFolder
from petclassify.learn.splits import assign_folds
from petclassify.report.metrics import Metrics, measure

log = logging.getLogger(__name__)

N_FOLDS = 5
FITTED_SPLITS: tuple[Split, ...] = ("train", "val")
FITTED_VIEWS = 2  # each photo and its mirror image

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class TrainResult:
    """What a run found: where it lies, its figures by split, its seconds by stage."""

    run: Path
    metrics: Mapping[Split, Metrics]
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Judged:
    """Photos with the probabilities that a head which never saw them gives them."""

    members: list[Member]
    probabilities: Probabilities

    def metrics(self, class_names: tuple[str, ...]) -> dict[Split, Metrics]:
        """The figures of val and, where there is one, of test."""
        labels = np.array([member.label for member in self.members])
        splits = np.array([member.split for member in self.members])
        return {
            split: measure(
                self.probabilities[splits == split], labels[splits == split], class_names
            )
            for split in SPLITS
            if split != "train" and np.any(splits == split)
        }


class Stopwatch:
    """Seconds by stage, in the order of the stages."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self._stages[name] = round(time.perf_counter() - start, 3)

    def seconds(self) -> dict[str, float]:
        """By stage, and in all."""
        return self._stages | {"total": round(time.perf_counter() - self._start, 3)}


def train(config: TrainConfig, index: Index) -> TrainResult:
    """Train, judge and export; see the module's docstring.

    Args:
        config: the options.
        index: the data set, as `learn.preflight.check_request` read it.

    Raises:
        PetclassifyError: see `errors`; the message says what to do.

    """
    watch = Stopwatch()
    with watch.stage("index"):
        dataset = prepare_dataset(index, config)
    with watch.stage("backbone"):
        backbone = load_backbone(config.backbone, config.weights, config.image_size)
        cache = FeatureCache.open(cache_folder(config.cache), backbone)
    folder = RunFolder.create(config.out, f"{index.root.resolve().name}-{config.backbone}")
    log.info("run: %s", folder.path)
    with watch.stage("features"):
        frozen = FrozenPass(backbone, cache)
        dataset = _computed(dataset, config, frozen)
        folder.write_json("data.json", dataset.to_dict())
        require_usable(dataset, config.max_bad)
        dataset = split_dataset(dataset, config)
        folder.write_json("data.json", dataset.to_dict())
    with watch.stage("head"):
        search, temperature, judged = _fit(dataset, frozen.cache, config.seed)
    metrics = judged.metrics(index.class_names)
    training = _training_facts(config, dataset, metrics)
    model = assemble(backbone, search.head, temperature, index.class_names, training)
    with watch.stage("report"):
        folder.write_json("config.json", _resolved(config, folder, frozen, search))
        folder.write_history(search)
        folder.write_predictions(dataset, judged.members, judged.probabilities)
        save_checkpoint(model, folder.checkpoint)
    with watch.stage("export"):
        val = [member.path for member in dataset.of("val")]
        fitted = [member.path for member in dataset.of("train")]
        write_whole(folder.model, export_model(model, val, fitted))
    figures = {split: metrics[split].to_dict() for split in metrics}
    folder.write_json("metrics.json", figures | {"seconds": watch.seconds()})
    folder.mark_latest()
    return TrainResult(folder.path, metrics, watch.seconds())


def _computed(dataset: Dataset, config: TrainConfig, frozen: FrozenPass) -> Dataset:
    """Bring all features into the cache; return the data set of the photos that can be read."""
    requests = [(dataset.photos(*FITTED_SPLITS), FITTED_VIEWS), (dataset.photos("test"), 1)]
    left = int(config.max_bad * dataset.total) - len(dataset.unreadable)
    dataset = dataset.without(frozen.run(requests, max_unreadable=left))
    if dataset.unreadable:
        log.warning(
            "%d of %d photos cannot be read; data.json lists them",
            len(dataset.unreadable),
            dataset.total,
        )
    return dataset


def _fit(dataset: Dataset, cache: FeatureCache, seed: int) -> tuple[HeadSearch, float, Judged]:
    """Fit the head and its temperature, and judge every photo by a head that never saw it."""
    fitted, tested = dataset.of(*FITTED_SPLITS), dataset.of("test")
    labels = [member.label for member in fitted]
    digests = [member.digest for member in fitted]
    folds = assign_folds(labels, digests, N_FOLDS, seed)
    search = search_head(cache.get(digests, FITTED_VIEWS), np.array(labels), folds)
    temperature = fit_temperature(search.out_of_fold, np.array(labels))
    test_features = cache.get([member.digest for member in tested], views=1)
    test_logits = search.head.logits(test_features[:, 0])
    logits = np.vstack([search.out_of_fold, test_logits])
    return search, temperature, Judged(fitted + tested, softmax(logits / temperature, axis=1))


def _training_facts(
    config: TrainConfig, dataset: Dataset, metrics: Mapping[Split, Metrics]
) -> dict[str, Any]:
    """What the model file says of its own making. No paths: it is made to be handed on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "photos": dataset.to_dict()["photos"],
        "weights": config.weights if config.weights == "pretrained" else "file",
        "seed": config.seed,
        "fitted_on": "train and val",
        "metrics": {
            split: {"accuracy": m.accuracy, "log_loss": m.log_loss, "ece": m.ece, "count": m.count}
            for split, m in metrics.items()
        },
        "versions": _versions(),
    }


def _resolved(
    config: TrainConfig, folder: RunFolder, frozen: FrozenPass, search: HeadSearch
) -> dict[str, Any]:
    """Every option as it came out, for config.json."""
    from_file = config.weights != "pretrained"
    return asdict(config) | {
        "data": str(config.data.resolve()),
        "weights": str(Path(config.weights).resolve()) if from_file else config.weights,
        "image_size": frozen.backbone.resize.crop,
        "out": str(folder.path.resolve()),
        "cache": str(frozen.cache.path.resolve()),
        "resize": asdict(frozen.backbone.resize),
        "engine": frozen.cache.engine,
        "head": {
            "l2": search.strength,
            "chosen_by": f"{search.num_folds}-fold cross-validation over train and val",
            "fitted_on": "train and val",
        },
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    packages = ("torch", "timm", "scikit-learn", "onnxruntime", "numpy", "pillow")
    return {
        "petclassify": petclassify.__version__,
        "python": platform.python_version(),
    } | {package: version(package) for package in packages}
