"""`petclassify compare`: networks trained the same way on the same split, side by side.

Each network has a run folder of its own below the comparison's, so what is finished is not
done again, what was interrupted goes on, and what fails is a row less. A network of the zoo
is trained from scratch within the budget; of a pretrained one the head is fitted, which has
no epochs. The comparison keeps features and measured choices in a cache of its own, so that
no network profits from earlier runs.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace

from petclassify.config import (
    UNBOUNDED_EPOCHS,
    FitConfig,
    TrainConfig,
    default_fit,
    default_weights,
)
from petclassify.errors import DataError, PetclassifyError, UsageError
from petclassify.files import disk_faults_named
from petclassify.images.exclusions import leave_out
from petclassify.images.index import read_index
from petclassify.images.read_only import require_outside
from petclassify.learn import zoo
from petclassify.learn.backbones.backbone import require_known
from petclassify.learn.claims import claimed
from petclassify.learn.compare_folder import (
    CACHE,
    CompareConfig,
    finished_before,
    listing_of,
    run_path,
    title_of,
    write_comparison,
)
from petclassify.learn.compared import read_compared
from petclassify.learn.preflight import check_request
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.learn.runs.run_place import (
    LOCK,
    clear_half_written,
)
from petclassify.learn.train import train
from petclassify.learn.tuning.processes import is_under_torchrun
from petclassify.report.comparison import Compared, Comparison

log = logging.getLogger(__name__)


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
    config = replace(config, photos=listing_of(index))
    finished_before(config)  # a folder of something else is left as it is
    with disk_faults_named(config.out):
        config.out.mkdir(parents=True, exist_ok=True)
    busy = f"{config.out}: another command is at work there. Wait for it, or choose another --out"
    with claimed(config.out / LOCK, busy):
        clear_half_written(config.out)
        finished = finished_before(config)
        if not finished:
            write_comparison(config, Comparison(title_of(config), (), {}))
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
        write_comparison(config, Comparison(title_of(config), tuple(rows), dict(failures)))
    if fault is not None and not rows:
        raise fault
    return Comparison(title_of(config), tuple(rows), failures)


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
    run = run_path(config, network)
    return TrainConfig(
        data=config.data,
        backbone=network,
        weights=weights,
        image_size=image_size,
        seed=config.seed,
        out=run,
        max_bad=config.max_bad,
        cache=config.out / CACHE / run.name,
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
        if listing_of(index) != photos:  # hours may lie between two networks
            raise UsageError(
                f"{config.data}: its photos are not those that this comparison began with. Put "
                "them back and repeat the command, or compare anew with another --out"
            )
        train(config, index)
    return read_compared(config.backbone, folder)


def parse_networks(text: str) -> tuple[str, ...]:
    """Names from a list with commas; each once.

    Raises:
        UsageError: there are none.

    """
    names: Sequence[str] = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--networks names none. Give some, such as zoo/lenet5,zoo/resnet18")
    return tuple(dict.fromkeys(names))
