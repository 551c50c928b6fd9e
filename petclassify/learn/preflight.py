"""What a request for training needs, checked before torch is loaded, which takes four seconds."""

from __future__ import annotations

import logging
from pathlib import Path

from petclassify.config import FitConfig, TrainConfig
from petclassify.errors import UsageError
from petclassify.images.exclusions import leave_out
from petclassify.images.index import Index, read_index
from petclassify.images.mistaken import overlooked
from petclassify.images.read_only import require_outside
from petclassify.learn import zoo
from petclassify.learn.backbones.sources import (
    PACKAGED_WEIGHTS,
    check_weights_file,
    may_be_cached,
    require_hub,
)
from petclassify.learn.backbones.timm_names import require_timm_name
from petclassify.learn.frozen.cache_place import cache_folder

log = logging.getLogger(__name__)


def check_request(config: TrainConfig) -> Index:
    """Read the data set's folders and make sure that the weights can be had.

    Photos that a list excludes are not in the index: nothing reads them.

    Raises:
        DataError: the folders do not make a data set, or a list leaves a class empty.
        UsageError: the options ask for something that cannot work.
        ModelError: the weights file does not exist or is of no known kind.
        EnvironmentFault: the weights are neither installed nor cached, and the hub
            cannot be reached.

    """
    index = read_index(config.data)
    require_outside(index, cache_folder(config.cache), "--cache")
    for finding in overlooked(index.root):
        log.warning("%s", finding)
    if config.exclude is not None:
        index = leave_out(index, config.exclude)
    if zoo.is_zoo(config.backbone):
        zoo.entry_of(config.backbone)
        if config.weights == "pretrained":
            raise UsageError(
                f"{config.backbone} has no pretrained weights. Leave out --weights to train it "
                "from scratch, or give the checkpoint of an earlier run"
            )
    else:
        require_timm_name(config.backbone)
    if config.fit.unfreeze == "none" and config.fit != FitConfig():
        raise UsageError(
            "with all layers frozen only the head is fitted, which has no epochs and no levers. "
            "Add --unfreeze last, gradual or all, or leave the levers out"
        )
    if config.fit.unfreeze == "none" and (idle := _idle(config)):
        raise UsageError(
            f"with all layers frozen no layer trains, which {' and '.join(idle)} would be for. Add "
            "--unfreeze last, gradual or all, or leave it out"
        )
    if config.fit.minutes and config.fit.unfreeze == "gradual":
        raise UsageError("gradual unfreezing shares out epochs, not minutes. Use last or all")
    if config.weights == "none":
        if config.fit.unfreeze != "all":
            raise UsageError(
                f"--weights none leaves {config.backbone} random, and frozen random layers "
                "learn nothing. Add --unfreeze all, or use --weights pretrained or FILE"
            )
        return index
    if config.weights != "pretrained":
        check_weights_file(Path(config.weights))
    elif config.backbone not in PACKAGED_WEIGHTS and not may_be_cached(config.backbone):
        require_hub(config.backbone)
    return index


def _idle(config: TrainConfig) -> list[str]:
    """The options that were given for layers that train."""
    given = {
        "--device": config.device != "auto",
        "--precision": config.precision != "auto",
        "--tensorboard": config.tensorboard,
    }
    return [option for option, is_given in given.items() if is_given]
