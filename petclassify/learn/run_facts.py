"""What a run says of itself: the options in config.json, the facts in the model file."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import petclassify
from petclassify.config import TrainConfig
from petclassify.images.digests import digest_file
from petclassify.images.index import Split
from petclassify.learn.backbones.backbone import Backbone
from petclassify.learn.candidates import Candidate
from petclassify.learn.data.dataset import Dataset
from petclassify.learn.head.logistic import HeadSearch
from petclassify.learn.tuning.finetune import FineTuned
from petclassify.report.metrics import Metrics


def asked(config: TrainConfig) -> dict[str, Any]:
    """The options as they were given, paths made absolute."""
    from_file = config.weights not in {"pretrained", "none"}
    return asdict(config) | {
        "data": os.path.realpath(config.data),
        "weights": _named_by_content(Path(config.weights)) if from_file else config.weights,
        "out": None if config.out is None else os.path.realpath(config.out),
        "cache": None if config.cache is None else os.path.realpath(config.cache),
        "exclude": None if config.exclude is None else _named_by_content(config.exclude),
    }


def resolved(
    config: TrainConfig,
    run: Path,
    backbone: Backbone,
    engine: str | None,
    search: HeadSearch | None,
    tuned: FineTuned | None,
    shipped: Candidate,
) -> dict[str, Any]:
    """Every option as it came out, and what was chosen on the way."""
    found: dict[str, Any] = asked(config) | {
        "asked": asked(config),
        "image_size": backbone.resize.crop,
        "out": str(run.resolve()),
        "resize": asdict(backbone.resize),
        "engine": engine,
        "versions": versions(),
    }
    if search is not None:
        found["head"] = {
            "l2": search.strength,
            "chosen_by": f"{search.num_folds}-fold cross-validation over train and val",
            "fitted_on": "train and val",
        }
    if tuned is not None:
        found["fit"]["lr"] = tuned.lr
        found["fine_tuning"] = {
            "best_epoch": None if tuned.best is None else tuned.best.number,
            "ships": shipped.is_tuned,
            "epochs_done": len(tuned.state.epochs),
            "arithmetic": tuned.state.arithmetic,
        }
    return found


def training_facts(
    config: TrainConfig, dataset: Dataset, metrics: Mapping[Split, Metrics], shipped: Candidate
) -> dict[str, Any]:
    """What the model file says of its own making. No paths: it is made to be handed on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "photos": dataset.to_dict()["photos"],
        "weights": config.weights if config.weights in {"pretrained", "none"} else "file",
        "unfreeze": config.fit.unfreeze if shipped.is_tuned else "none",
        "unfreeze_tried": config.fit.unfreeze,
        "seed": config.seed,
        "normalisation": shipped.extractor.normalisation,
        "fitted_on": shipped.fitted_on,
        "metrics": {
            split: {"accuracy": m.accuracy, "log_loss": m.log_loss, "ece": m.ece, "count": m.count}
            for split, m in metrics.items()
        },
        "versions": versions(),
    }


def _named_by_content(path: Path) -> str:
    """So that a run that goes on notices an edited list, or other weights under the same name."""
    return f"{os.path.realpath(path)} (SHA-256 {digest_file(path)})"


def versions() -> dict[str, str]:
    """Of the packages that decide what comes out."""
    packages = ["torch", "torchvision", "timm", "scikit-learn", "onnxruntime", "numpy", "pillow"]
    if find_spec("openvino") is not None:
        packages.append("openvino")
    return {
        "petclassify": petclassify.__version__,
        "python": platform.python_version(),
    } | {package: version(package) for package in packages}
