"""The run folder: what a training leaves behind, each file whole or not there.

config.json             every option, resolved, with versions and seed
data.json               photos counted; photos left out, with the reason; copies
history.csv             a row per phase and step
curves.png              the same as a picture
checkpoint.safetensors  the best model, for torch
model.onnx              the same, to deploy
metrics.json            val and test figures, seconds
predictions.csv         every photo with its probabilities, by a head that never saw it
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from petclassify.errors import EnvironmentFault, ModelError, UsageError
from petclassify.files import disk_faults_named, write_whole, written_whole
from petclassify.images.index import Split
from petclassify.learn.dataset import Dataset, Member
from petclassify.learn.head import HeadSearch
from petclassify.report.history import StrengthTried
from petclassify.report.plots import draw_head_search

log = logging.getLogger(__name__)

RUNS = Path("models")


@dataclass(frozen=True)
class RunFolder:
    """Where each file of a run lies."""

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
    def curves(self) -> Path:
        """The picture of the history."""
        return self.path / "curves.png"

    @classmethod
    def create(cls, out: Path | None, default_name: str) -> RunFolder:
        """Make a new run folder.

        Args:
            out: where; None takes `models/<default_name>`, numbered when that is taken.
            default_name: data set and backbone.

        Raises:
            UsageError: `out` holds something already.
            EnvironmentFault: the folder cannot be made.

        """
        try:
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                if any(out.iterdir()):
                    raise UsageError(f"{out}: not empty. Choose another --out, or remove it")
                return cls(out)
            RUNS.mkdir(exist_ok=True)
            for number in itertools.count(1):
                path = RUNS / (default_name if number == 1 else f"{default_name}-{number}")
                try:
                    path.mkdir()
                    return cls(path)
                except FileExistsError:
                    continue
        except OSError as error:
            raise EnvironmentFault(
                f"{out or RUNS}: the run folder cannot be made ({error.strerror}). "
                "Choose another with --out DIR"
            ) from error
        raise AssertionError("unreachable: the numbers do not end")

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write one of the JSON files."""
        write_whole(self.path / name, (json.dumps(content, indent=2) + "\n").encode())

    def write_csv(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write one of the tables. File names keep their own bytes."""
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(columns)
        table.writerows(rows)
        write_whole(self.path / name, text.getvalue().encode("utf-8", "surrogateescape"))

    def write_history(self, search: HeadSearch) -> None:
        """Write history.csv and curves.png."""
        columns = [column.name for column in fields(StrengthTried)]
        self.write_csv(
            "history.csv",
            ["phase", "step", *columns],
            (["head", step, *astuple(tried)] for step, tried in enumerate(search.tried, start=1)),
        )
        with written_whole(self.curves) as temporary:
            title = f"{self.path.resolve().name}: the head on frozen features"
            draw_head_search(search.tried, search.strength, title, temporary)

    def write_predictions(
        self, dataset: Dataset, members: Sequence[Member], probabilities: NDArray[np.float64]
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
            config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
            return Path(config["data"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{self.path}: not a run folder (no whole config.json in it)"
            ) from error

    def photos_of(self, split: Split) -> list[str]:
        """The run's photos of one split, as paths below the data set.

        Raises:
            ModelError: the run did not finish, or its predictions.csv is damaged.

        """
        try:
            text = (self.path / "predictions.csv").read_bytes()
            rows = list(csv.DictReader(io.StringIO(text.decode("utf-8", "surrogateescape"))))
            return [row["path"] for row in rows if row["split"] == split]
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise ModelError(
                f"{self.path}: the run did not finish (no whole predictions.csv in it)"
            ) from error

    def mark_latest(self) -> None:
        """Let models/latest name this run, if it lies under ./models.

        A link where the system allows links, else a file that holds the folder's name.
        """
        if self.path.resolve().parent != RUNS.resolve():
            return
        latest, name = RUNS / "latest", self.path.resolve().name
        temporary = RUNS / f".latest-{os.getpid()}"
        with disk_faults_named(latest):
            temporary.unlink(missing_ok=True)
            try:
                temporary.symlink_to(name, target_is_directory=True)
            except OSError:
                temporary.write_text(name, encoding="utf-8")
            if latest.is_dir() and not latest.is_symlink():
                log.warning("%s: a folder, so it cannot name the last run", latest)
                temporary.unlink()
            else:
                os.replace(temporary, latest)
