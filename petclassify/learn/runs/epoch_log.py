"""What a fit leaves behind after each epoch: history.csv and, on request, TensorBoard's log."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from petclassify.learn.head.logistic import HeadSearch
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.learn.tuning.fit_state import FitState

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class EpochLog:
    """Call it with the state after each epoch; close it by leaving the `with` block.

    Args:
        folder: of the run.
        search: of the head before it, if there was one.
        tensorboard: whether TensorBoard wants to see the epochs too.

    """

    def __init__(self, folder: RunFolder, search: HeadSearch | None, *, tensorboard: bool) -> None:
        self._folder = folder
        self._search = search
        self._wanted = tensorboard
        self._writer: SummaryWriter | None = None

    def __call__(self, state: FitState) -> None:
        self._folder.write_history(self._search, state.epochs)
        if not self._wanted:
            return
        epoch = state.epochs[-1]
        writer = self._open(first_epoch=epoch.number)
        for name in ("loss", "accuracy"):
            for split in ("train", "val"):
                writer.add_scalar(
                    f"{name}/{split}", getattr(epoch, f"{split}_{name}"), epoch.number
                )
        writer.add_scalar("lr", epoch.lr, epoch.number)
        writer.flush()

    def __enter__(self) -> EpochLog:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def _open(self, first_epoch: int) -> SummaryWriter:
        """A writer that hides what an interrupted run logged from this epoch on."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(
                str(self._folder.path / "tensorboard"), purge_step=first_epoch
            )
        return self._writer
