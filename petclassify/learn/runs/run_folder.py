"""The run folder: what a training leaves behind, each file whole or not there.

config.json             every option, resolved, with versions and seed
data.json               photos counted and their digest; photos left out, and why; copies
history.csv             a row per strength of the head, then one per epoch
curves.png              the same as a picture
resume/                 the last whole state of a fit, see learn.tuning.fit_state
tensorboard/            the epochs again, where that was asked for
checkpoint.safetensors  the best model, for torch
model.onnx              the same, to deploy
metrics.json            val and test figures, seconds
report.html             for who must decide whether to deploy it; opens offline
photos.csv              every photo: its split, its class, the digest of its content
predictions.csv         photos with their probabilities, by weights that never saw them
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petclassify.arrays import Probabilities
from petclassify.errors import ModelError, UsageError
from petclassify.files import disk_faults_named, write_whole, written_whole
from petclassify.images.index import Split
from petclassify.learn.data.dataset import Dataset, Member
from petclassify.learn.head.logistic import HeadSearch
from petclassify.learn.runs.run_place import RUNS
from petclassify.learn.tuning.fit_state import FitState
from petclassify.report.history import Epoch
from petclassify.report.photo_table import read_photo_table
from petclassify.report.plots import draw_epochs, draw_head_search
from petclassify.runtime.model_file import LATEST, named_run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """The files of a run: where each lies, and how it is written and read."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The best model, for torch."""
        return self.path / "checkpoint.safetensors"

    @property
    def model(self) -> Path:
        """The model file."""
        return self.path / "model.onnx"

    @property
    def report(self) -> Path:
        """The page on the model."""
        return self.path / "report.html"

    @property
    def state(self) -> Path:
        """The last whole state of a fit, for `--resume`."""
        return self.path / "resume" / "state.safetensors"

    @property
    def history(self) -> Path:
        """What training tried, row by row."""
        return self.path / "history.csv"

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end: metrics.json is written last."""
        return (self.path / "metrics.json").exists()

    def reopen(self) -> None:
        """Say that the run is not finished, before files of it are replaced by others."""
        with disk_faults_named(self.path):
            (self.path / "metrics.json").unlink(missing_ok=True)

    @property
    def curves(self) -> Path:
        """The picture of the history."""
        return self.path / "curves.png"

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write one of the JSON files."""
        write_whole(self.path / name, (json.dumps(content, indent=2) + "\n").encode())

    def tell_data(self, found: Dataset) -> None:
        """Write data.json, but not while it is open whether a run goes on with these photos."""
        if not self.state.exists() and not self.is_finished:
            self.write_json("data.json", found.to_dict())

    def require_its_photos(self, found: Dataset) -> None:
        """Make sure that a finished run is not replaced by one of other photos.

        Raises:
            UsageError: `found` are not the photos that it was trained and judged on.

        """
        if self.is_finished and self.read_json("data.json").get("digest") != found.digest():
            raise UsageError(
                f"{found.root}: its photos are not those of {self.path}, which is finished. Train "
                "anew, without --resume"
            )

    def read_json(self, name: str) -> dict[str, Any]:
        """Read one of the JSON files.

        Raises:
            ModelError: it is missing or damaged.

        """
        try:
            return dict(json.loads((self.path / name).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            if self.path.is_file():
                what = "is a file, not a run folder. Give the folder that petclassify train made"
            elif not self.path.exists():
                what = "no such run folder. Give one that petclassify train made"
            else:
                what = f"not a run folder (no whole {name} in it)"
            raise ModelError(f"{self.path}: {what}") from error

    def write_csv(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write one of the tables. File names keep their own bytes."""
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(columns)
        table.writerows(rows)
        write_whole(self.path / name, text.getvalue().encode("utf-8", "surrogateescape"))

    def write_history(self, search: HeadSearch | None, epochs: Sequence[Epoch]) -> None:
        """Write history.csv: the head's search, if there was one, then the epochs."""
        columns = ["phase", "epoch", "l2", "lr", *_FIGURES]
        rows = [
            ["head", "", tried.strength, "", *(getattr(tried, name) for name in _FIGURES)]
            for tried in (search.tried if search else ())
        ] + [
            [epoch.phase, epoch.number, "", epoch.lr, *(getattr(epoch, name) for name in _FIGURES)]
            for epoch in epochs
        ]
        self.write_csv("history.csv", columns, rows)

    def draw_curves(
        self, search: HeadSearch | None, fit: FitState | None, why: str, *, fit_ships: bool
    ) -> None:
        """Write curves.png: the epochs if there are any, else the head's search.

        Args:
            search: of the head, if there was one.
            fit: the state after the last epoch, if there was one.
            why: its best epoch ships, or does not.
            fit_ships: whether it does.

        """
        name = self.path.resolve().name
        with written_whole(self.curves) as temporary:
            if fit is not None:
                title = f"{name}\n{why}"
                draw_epochs(fit.epochs, fit.start_loss, title, temporary, ships=fit_ships)
            elif search is not None:
                title = f"{name}: the head on frozen features"
                draw_head_search(search.tried, search.strength, title, temporary)

    def write_photos(self, dataset: Dataset) -> None:
        """Write photos.csv, paths below the data set."""
        names = dataset.class_names
        self.write_csv(
            "photos.csv",
            ["path", "split", "class_name", "sha256"],
            ([dataset.name_of(m), m.split, names[m.label], m.digest] for m in dataset.members),
        )

    def write_predictions(
        self, dataset: Dataset, members: Sequence[Member], probabilities: Probabilities
    ) -> None:
        """Write predictions.csv, paths below the data set.

        Args:
            dataset: gives the names.
            members: (N,).
            probabilities: (N, classes), each by a head that never saw the photo.

        """
        names = dataset.class_names
        self.write_csv(
            "predictions.csv",
            ["path", "split", "class_name", "predicted", *(f"probability_{n}" for n in names)],
            (
                [
                    *(dataset.name_of(member), member.split),
                    *(names[member.label], names[int(row.argmax())]),
                    *(f"{probability:.6g}" for probability in row),
                ]
                for member, row in zip(members, probabilities, strict=True)
            ),
        )

    def data_root(self) -> Path:
        """The data set that the run was trained on.

        Raises:
            ModelError: this is no run folder, or its config.json is damaged.

        """
        try:
            return Path(self.read_json("config.json")["data"])
        except (KeyError, TypeError) as error:
            raise ModelError(
                f"{self.path}: not a run folder (no whole config.json in it)"
            ) from error

    def photos_of(self, split: Split) -> list[str]:
        """The run's photos of one split, see `classes_of`."""
        return list(self.classes_of(split))

    def classes_of(self, split: Split) -> dict[str, str]:
        """The class names of the run's photos of one split, by their paths below the data set.

        Raises:
            ModelError: the run did not finish, or its photos.csv is damaged.

        """
        try:
            rows = read_photo_table(self.path)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{self.path}: the run did not finish (no whole photos.csv in it)"
            ) from error
        return {row["path"]: row["class_name"] for row in rows if row["split"] == split}

    def mark_latest(self) -> None:
        """Let models/latest name this run, if it lies under ./models.

        A link where the system allows links, else a file that holds the folder's name. What
        else is called so is the user's, and stays.
        """
        if self.path.resolve().parent != RUNS.resolve():
            return
        latest, name = RUNS / LATEST, self.path.resolve().name
        if latest.exists() and not latest.is_symlink():
            named = named_run(latest)
            if named == latest or not (named / "config.json").is_file():
                log.warning(
                    "%s: kept, since it names no run; without it, it would name this", latest
                )
                return
        temporary = RUNS / f".latest-{os.getpid()}"
        with disk_faults_named(latest):
            temporary.unlink(missing_ok=True)
            try:
                temporary.symlink_to(name, target_is_directory=True)
            except OSError:
                temporary.write_text(name, encoding="utf-8")
            os.replace(temporary, latest)
        log.info("%s names this run now", latest)


_FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
