"""SIGKILL at every write: nothing half-written is read as whole, and the same command goes on.

The slow test tries every write of every command, see `places`; the other tries one of each.
The forked process is killed as a whole, but it is no fresh interpreter: those are killed in
`tests/runtime/test_results.py` and `tests/learn/tuning/test_finetune.py`.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import safetensors
from PIL import Image

from petclassify import Classifier
from petclassify.images.drawn_pets import draw_pets
from petclassify.images.public_sets import PUBLIC_SETS
from tests.conftest import REPOSITORY
from tests.images.https_server import serving
from tests.killer import Ended, Killer, started
from tests.learn.data.test_public_data import _idx_files
from tests.reliability import Attacks

pytestmark = pytest.mark.attack("Kills")

SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"
RESNET = ("--backbone", "resnet18", "--image-size", "64")
LENET = ("--backbone", "zoo/lenet5", "--image-size", "32", "--epochs", "2", "--batch-size", "8")


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with started() as running:
        yield running


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "pets"
    draw_pets(folder, count=24, seed=0)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import timm
    import torch

    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    torch.manual_seed(0)
    network = timm.create_model("resnet18", num_classes=2)
    from safetensors.torch import save_file

    save_file(network.state_dict(), path)
    return path


@dataclass
class Command:
    """A command under the killer.

    Attributes:
        arguments: of its first run.
        again: what is added to go on.
        prepare: fills the folder before the first run.
        left: facts of the folder that must be those of an unbroken run in the end.
        watch: the folder, below the one it works in, whose writes are counted.
        more: for the killer.

    """

    arguments: tuple[str | Path, ...]
    left: Callable[[Path], Any]
    again: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = lambda _: None
    watch: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def run(self, killer: Killer, folder: Path, at: int = 0, *, again: bool = False) -> Ended:
        watched = folder / self.watch
        watched.mkdir(parents=True, exist_ok=True)
        arguments = (*self.arguments, *(self.again if again else ()))
        return killer.run(*arguments, watch=watched, at=at, folder=str(folder), **self.more)


def facts_of_run(folder: Path) -> Any:
    metrics = json.loads((folder / "run/metrics.json").read_text())
    del metrics["seconds"]
    with safetensors.safe_open(folder / "run/checkpoint.safetensors", framework="np") as opened:
        tensors = {k: opened.get_tensor(k).round(4).tolist() for k in opened.keys()}  # noqa: SIM118
    return metrics, (folder / "run/predictions.csv").read_text(), digest(tensors)


def facts_of_frozen_run(folder: Path) -> Any:
    """Other batches of photos give features that differ in the last digits."""
    metrics, _, _ = facts_of_run(folder)
    return {split: figures["accuracy"] for split, figures in metrics.items()}


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def bytes_of(*names: str) -> Callable[[Path], Any]:
    return lambda folder: [(folder / name).read_bytes() for name in names]


def tree(folder: Path) -> Any:
    pictures = folder / "data" / "mnist"
    files = sorted(path for path in pictures.rglob("*") if path.is_file())
    return [(str(path.relative_to(pictures)), path.read_bytes()) for path in files]


@pytest.fixture
def command(
    request: pytest.FixtureRequest,
    pets: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killer: Killer,
) -> Iterator[Command]:
    cache = tmp_path / "cache"
    fine_tuning = ("train", pets, *LENET, "--precision", "fp32", "--out", "run", "--cache", cache)
    match request.param:
        case "train":
            yield Command(fine_tuning, facts_of_run, ("--resume",))
        case "feature cache":
            frozen = ("train", pets, *RESNET, "--weights", weights, "--out", "run")
            arguments = (*frozen, "--cache", "cache")
            yield Command(arguments, facts_of_frozen_run, ("--resume",), watch="cache")
        case "export":
            whole = Command(fine_tuning, facts_of_run)
            trained = tmp_path / "trained"
            assert whole.run(killer, trained).code == 0

            def copy(folder: Path) -> None:
                shutil.copytree(trained / "run", folder / "run")

            yield Command(("export", "run"), bytes_of("run/model.onnx"), prepare=copy)
        case "predict --output":
            arguments = ("predict", pets, "--model", SHIPPED, "--output", "rows.csv")

            def leave_old(folder: Path) -> None:
                (folder / "rows.csv").write_text(
                    "path,label,probability,known,familiarity,\nold,old,,,,\n"
                )

            yield Command(arguments, bytes_of("rows.csv"), prepare=leave_old)
        case "evaluate":
            arguments = ("evaluate", pets, "--model", SHIPPED, "--report", "report.html")
            yield Command(arguments, lambda folder: (folder / "report.html").exists())
        case "data fetch":
            with serving(monkeypatch, tmp_path) as server:
                yield fetch_of(server, tmp_path)


def fetch_of(server: Any, folder: Path) -> Command:
    content = _idx_files()
    server.files |= content
    files = {
        file.name: {
            "urls": [server.url(file.name)],
            "sha256": hashlib.sha256(content[file.name]).hexdigest(),
            "max_bytes": len(content[file.name]),
        }
        for file in PUBLIC_SETS["mnist"].files
    }
    environment = {"SSL_CERT_FILE": str(folder / "authority.pem"), "no_proxy": "*"}
    more = {"public_set": {"name": "mnist", "files": files}, "environment": environment}
    return Command(("data", "fetch", "mnist", "--data-root", "data"), tree, more=more)


ALL = ["train", "feature cache", "export", "predict --output", "evaluate", "data fetch"]


def require_whole(folder: Path) -> None:
    """Every file that is not marked as unfinished can be read to its end."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_dir() or any(part.startswith(".") for part in parts):
            continue
        match path.suffix:
            case ".json":
                json.loads(path.read_text())
            case ".csv":
                rows = list(csv.reader(path.read_text().splitlines()))
                assert {len(row) for row in rows} == {len(rows[0])}, path
            case ".safetensors":
                with safetensors.safe_open(path, framework="np") as opened:
                    assert [opened.get_tensor(name) for name in opened.keys()]  # noqa: SIM118
            case ".onnx":
                Classifier.load(path)
            case ".png":
                with Image.open(path) as image:
                    image.load()
            case ".html":
                assert path.read_text().rstrip().endswith("</html>"), path
            case ".sqlite":
                with closing(sqlite3.connect(path)) as database:
                    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            case ".part":  # of a result, or of a download: never read as the whole
                continue


def require_survived(command: Command, killer: Killer, folder: Path, at: int, unbroken: Any) -> str:
    """Kill at a write, look at what is left, go on, and compare with an unbroken run."""
    folder.mkdir()
    command.prepare(folder)
    before = command.left(folder) if command.arguments[0] in ("export", "predict") else None
    killed = command.run(killer, folder, at)
    assert killed.killed, (at, killed)
    require_whole(folder)
    if before is not None:
        assert command.left(folder) in (before, unbroken)
    done = command.run(killer, folder, again=True)
    where = f"killed at write {at}, {killed.writes[-1]}: {done.err}"
    assert done.code == 0, where
    assert command.left(folder) == unbroken, where
    # A lock file bars nobody; a temporary file of a command that has no folder of its own stays.
    left_over = [p.name for p in folder.rglob(".*") if p.suffix not in (".tmp", ".lock")]
    left_over += [p.name for p in folder.glob("run/**/.*") if "train" in command.arguments]
    left_over += [p.name for p in folder.rglob("*.part*")]
    assert left_over == [], where
    return killed.writes[-1]


def unbroken_run(command: Command, killer: Killer, folder: Path) -> tuple[tuple[str, ...], Any]:
    """The writes by name, and what comes of a run that nobody kills."""
    if "zoo/lenet5" in command.arguments:  # let the choice of arithmetic be made
        assert command.run(killer, folder / "first").code == 0
    (folder / "whole").mkdir()
    command.prepare(folder / "whole")
    done = command.run(killer, folder / "whole")
    assert done.code == 0, done.err
    return done.writes, command.left(folder / "whole")


@pytest.mark.parametrize(
    "command", ["train", "export", "predict --output", "data fetch"], indirect=True
)
def test_a_kill_midway_leaves_nothing_half_written_and_the_command_goes_on(
    command: Command, killer: Killer, tmp_path: Path
) -> None:
    writes, unbroken = unbroken_run(command, killer, tmp_path)
    require_survived(command, killer, tmp_path / "killed", len(writes) * 2 // 3, unbroken)


def places(writes: tuple[str, ...]) -> list[int]:
    """At which writes to kill: at every one, but of SQLite's, which are the same for each photo,
    at the first, the second and the last of every pair of statements that follow one another."""
    seen: dict[tuple[str, str], list[int]] = {}
    for at, pair in enumerate(itertools.pairwise(("", *writes)), start=1):
        seen.setdefault(pair, []).append(at)
    chosen = {at for found in seen.values() for at in (*found[:2], found[-1])}
    plain = {at for at, name in enumerate(writes, start=1) if not name.startswith("sqlite")}
    return sorted(chosen | plain)


def test_each_kind_of_write_is_killed_at_its_first_second_and_last() -> None:
    photo = ("sqlite begin", "sqlite insert", "sqlite commit")
    assert places(("open", *photo * 9, "fsync", "open", "fsync")) == [
        *(1, 2, 3, 4, 5, 6, 7, 8, 26, 27, 28),
        *(29, 30, 31),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "name"), [(name, name) for name in ALL], indirect=["command"])
def test_a_kill_at_every_write_is_survived(
    command: Command, name: str, killer: Killer, tmp_path: Path, attack: Attacks
) -> None:
    writes, unbroken = unbroken_run(command, killer, tmp_path)
    lost = {}
    for at in places(writes):
        folder = tmp_path / "killed"
        try:
            with attack(f"write {at}", under=f"at a write of {name}"):
                require_survived(command, killer, folder, at, unbroken)
        except Exception as error:
            lost[at] = error
        shutil.rmtree(folder)
    assert not lost
