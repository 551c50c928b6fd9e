"""One process or several, by Lightning Fabric.

Under `torchrun` every process runs this same program. The first makes the features, writes
every file and talks; the others wait until it joins, find the features in the cache, and
help with the fit.
"""

from __future__ import annotations

import datetime
import logging
import os

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException

from petclassify.config import Device
from petclassify.errors import EnvironmentFault
from petclassify.learn.tuning.precision import Arithmetic

_TOLD_BY_TORCHRUN = {"TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE"}
_PATIENCE = datetime.timedelta(days=2)  # the first process may decode millions of photos


def is_under_torchrun() -> bool:
    """Whether this process is one of several; other launchers set some of the same variables."""
    return os.environ.keys() >= _TOLD_BY_TORCHRUN


class Processes:
    """The processes of this run."""

    def __init__(self, device: Device) -> None:
        self._device = device
        under_torchrun = is_under_torchrun()
        self.size = int(os.environ["WORLD_SIZE"]) if under_torchrun else 1
        self.rank = int(os.environ["RANK"]) if under_torchrun else 0
        self._local_size = int(os.environ["LOCAL_WORLD_SIZE"]) if under_torchrun else 1
        logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
        if not self.is_first:
            logging.getLogger("petclassify").setLevel(logging.ERROR)

    @property
    def is_first(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    def join(self, arithmetic: Arithmetic | None = None) -> Fabric:
        """Wait for all processes, and set up device, precision and gradient exchange.

        Raises:
            EnvironmentFault: the device that was asked for is not here.

        """
        try:
            fabric = Fabric(
                accelerator="auto" if self._device == "auto" else self._device,
                devices=self._local_size,
                num_nodes=self.size // self._local_size,
                strategy=DDPStrategy(timeout=_PATIENCE) if self.size > 1 else "auto",
                # Fabric would take a job of SLURM's, or of others', for one of several processes.
                plugins=[] if self.size > 1 else [LightningEnvironment()],
                precision=arithmetic.fabric if arithmetic else "32-true",  # type: ignore[arg-type]
            )
        except (RuntimeError, MisconfigurationException) as error:
            raise EnvironmentFault(
                f"--device {self._device} cannot be had for {self.size} process(es) here: "
                f"{str(error).split('. ', maxsplit=1)[0]}"
            ) from error
        fabric.launch()
        return fabric
