"""Commands in strange surroundings, as processes of their own: `tests/strange_conditions.py`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from petclassify.config import FitConfig, TrainConfig
from petclassify.images.drawn_pets import draw_pets
from petclassify.learn.preflight import check_request
from petclassify.learn.train import train
from tests.conftest import REPOSITORY
from tests.reliability import Attacks
from tests.strange_conditions import CONDITIONS, Condition

SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"
TORCHLESS = {
    "predict": ["predict", "{photos}", "--model", SHIPPED],
    "predict --output": ["predict", "{photos}", "--model", SHIPPED, "--output", "{out}/r.parquet"],
    "evaluate": ["evaluate", "{pets}", "--model", SHIPPED, "--report", "{out}/r.html"],
    "explain": ["explain", "{photos}", "--model", SHIPPED, "--out", "{out}/maps"],
    "data draw": ["data", "draw", "{out}/drawn", "--count", "4"],
    "serve": ["serve", "--port", "0", "--model", SHIPPED],
}
TRAINING = {
    "train": ["train", "{pets}", "--image-size", "64", "--out", "{out}/run"],
    "data check": ["data", "check", "{pets}", "--out", "{out}/c", "--write-exclude", "{out}/x.csv"],
    "data preview": ["data", "preview", "{pets}", "--out", "{out}/p.png"],
    "networks": ["networks"],
    "networks NAME": ["networks", "zoo/lenet5"],
    "export": ["export", "{run}"],
    "compare": [
        "compare",
        "{pets}",
        "--networks",
        "zoo/lenet5",
        *("--image-size", "32", "--epochs", "1"),
        "--out",
        "{out}/cmp",
    ],
}
EVERY = TORCHLESS | TRAINING
DEMO = ["demo", "--data", "{out}/demo"]
SIGNALLED = 143  # how a server ends
NEVER = (b"Traceback", b"bug in petclassify", b"Exception ignored", b"Fatal Python error")


pytestmark = pytest.mark.attack("Surroundings")


@pytest.fixture(scope="session")
def few_pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 drawn pets: what is tried is not the training."""
    folder = tmp_path_factory.mktemp("few") / "pets"
    draw_pets(folder, count=24, seed=0)
    return folder


@pytest.fixture(scope="session")
def lenet_run(tmp_path_factory: pytest.TempPathFactory, few_pets: Path) -> Path:
    """A finished run. Read it only."""
    folder = tmp_path_factory.mktemp("lenet")
    fit = FitConfig("all", epochs=1, batch_size=8)
    config = TrainConfig(
        few_pets, "zoo/lenet5", "none", 32, out=folder / "run", cache=folder / "cache", fit=fit
    )
    assert train(config, check_request(config)) is not None
    return folder / "run"


class Surroundings:
    """Folders in which a command is tried under a condition."""

    def __init__(self, folder: Path, pets: Path, run: Path | None, cache: Path) -> None:
        self._folder = folder
        self._pets = pets
        self._run = run
        self._cache = cache
        self._tried = 0

    def lost(self, condition: Condition, name: str, command: list[Any]) -> str:
        """What went wrong; nothing if the command survived."""
        self._tried += 1
        base = self._folder / f"{self._tried}"
        place, out, work = base / "place", base / "out", base / "work"
        for made in (place, out, work):
            made.mkdir(parents=True)
        run = base / "run"
        if "{run}" in command and self._run is not None:
            shutil.copytree(self._run, run)
        photos = self._pets / "cats"
        given = [
            str(one).format(photos=photos, pets=self._pets, out=out, run=run) for one in command
        ]
        line = [sys.executable, "-m", "petclassify", *given]
        if name == "serve":
            line = ["timeout", "--preserve-status", "--signal=TERM", "5", *line]
        line = ["bash", "-o", "pipefail", "-c", condition.shell, "bash", *line]
        if condition.bound and os.getuid() == 0:
            line = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *line]
        paths = {"PYTHONPATH": str(REPOSITORY), "PLACE": str(place)}
        done = subprocess.run(
            line,
            env=os.environ | paths | {"XDG_CACHE_HOME": str(self._cache)},
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=300,
        )
        said = done.stdout + done.stderr
        codes = {*condition.codes, *([SIGNALLED] if name == "serve" else [])}
        if done.returncode not in codes or any(word in said for word in NEVER):
            return f"{condition.name}, {name}: exit {done.returncode}: {said[-300:]!r}"
        if done.returncode == 6 and done.stderr.count(b"error: ") != 1:
            return f"{condition.name}, {name}: not one line: {done.stderr[-300:]!r}"
        return ""


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_every_command_survives_every_condition(
    tmp_path: Path,
    few_pets: Path,
    lenet_run: Path,
    feature_cache: Path,
    attack: Attacks,
    condition: Condition,
) -> None:
    surroundings = Surroundings(tmp_path, few_pets, lenet_run, feature_cache)
    lost = []
    for name, command in EVERY.items():
        fault = surroundings.lost(condition, name, command)
        attack.made(1, bool(fault), under=name)
        lost += [fault] if fault else []
    assert not lost, "\n".join(lost)


# It is `data draw`, `train` and `predict` in one, so what they survive is not tried again.
@pytest.mark.slow
@pytest.mark.parametrize(
    "condition",
    [c for c in CONDITIONS if c.name in ("all three closed", "HOME nowhere", "ulimit -n 64")],
    ids=lambda condition: condition.name,
)
def test_the_demo_survives_conditions_of_each_kind(
    tmp_path: Path, few_pets: Path, feature_cache: Path, attack: Attacks, condition: Condition
) -> None:
    surroundings = Surroundings(tmp_path, few_pets, None, feature_cache)
    with attack(condition.name, under="demo"):
        assert not surroundings.lost(condition, "demo", DEMO)


@pytest.mark.parametrize(
    "condition",
    [c for c in CONDITIONS if c.name in ("all three closed", "working folder deleted")],
    ids=lambda condition: condition.name,
)
def test_predict_needs_neither_streams_nor_a_folder(
    tmp_path: Path, make_photos, condition: Condition
) -> None:
    make_photos(tmp_path / "pets" / "cats", 2)
    surroundings = Surroundings(tmp_path, tmp_path / "pets", None, tmp_path)
    name = "predict --output"
    assert not surroundings.lost(condition, name, TORCHLESS[name])


def test_torch_is_not_loaded_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    (condition,) = (c for c in CONDITIONS if c.name == "working folder deleted")
    surroundings = Surroundings(tmp_path, tmp_path, None, tmp_path)
    for name in ("networks NAME", "train"):
        assert not surroundings.lost(condition, name, TRAINING[name])


def test_what_notebooks_and_clusters_set_changes_nothing(tmp_path: Path, few_pets: Path) -> None:
    (condition,) = (c for c in CONDITIONS if "SLURM" in c.name)
    surroundings = Surroundings(tmp_path, few_pets, None, tmp_path)
    assert not surroundings.lost(condition, "compare", TRAINING["compare"])


def test_a_photo_below_the_longest_path_is_predicted_or_named(tmp_path: Path, make_photos) -> None:
    (photo,) = make_photos(tmp_path, 1)
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):  # of 200 bytes: in the end no system call takes the whole path
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        os.link(photo, "p.png", dst_dir_fd=here)
    os.close(here)
    command = [sys.executable, "-m", "petclassify", "predict", tmp_path, "--format", "csv"]
    done = subprocess.run(
        [*command, "--model", SHIPPED], cwd=REPOSITORY, capture_output=True, check=False
    )
    rows = done.stdout.splitlines()[1:]
    assert done.returncode == 3, done.stderr
    assert sum(b"/p.png," in row or b"/000.png," in row for row in rows) >= 18
    assert b"File name too long" in rows[-2] or b"file name too long" in done.stdout
    assert all(word not in done.stderr for word in NEVER)


def test_names_cannot_command_a_terminal(petclassify, tmp_path: Path, make_photos) -> None:
    folder = tmp_path / "a\x1b[31m\nb\udcff"
    make_photos(folder / "cats", 2)
    make_photos(folder / "dogs", 2, colour=99)
    drawn = petclassify("data", "draw", folder.with_name(f"new {folder.name}"), "--count", 2)
    judged = petclassify("evaluate", folder, "--model", SHIPPED, "--report", tmp_path / "r.html")
    assert (drawn.code, judged.code) == (0, 0), judged.err
    for said in (drawn.out, drawn.err, judged.out, judged.err):
        assert "\x1b" not in said
        assert "\nb" not in said
    assert "new a\\x1b[31m\\nb\\udcff" in drawn.out


@pytest.mark.slow
def test_100_000_photos_in_a_class_take_the_memory_of_their_names(
    tmp_path: Path, drawn_pets: Path, feature_cache: Path
) -> None:
    from petclassify.config import TrainConfig, default_fit
    from petclassify.learn.preflight import check_request
    from petclassify.learn.train import train

    name = "zoo/lenet5"  # reading is what is measured
    config = TrainConfig(
        drawn_pets, name, "none", out=tmp_path / "run", fit=default_fit(name, "none")
    )
    result = train(config, check_request(config))
    assert result is not None
    noise = np.random.default_rng(0)
    peaks = {}
    for count in (2_000, 100_000):
        folder = tmp_path / f"{count}"
        (folder / "cats").mkdir(parents=True)
        for number in range(count):
            pixels = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "cats" / f"{number}.bmp")
        out = tmp_path / f"{count}.csv"
        peaks[count] = peak_mib("predict", folder, "--model", result.run, "--output", out)
        assert out.read_bytes().count(b"\n") == count + 1
    print(f"\npredict, most memory by photos: {peaks}")
    assert peaks[100_000] < peaks[2_000] + 200  # a folder is listed whole, to be sorted


def peak_mib(*arguments: object) -> float:
    """The most memory that a command held."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [
        sys.executable,
        "-c",
        code,
        sys.executable,
        "-m",
        "petclassify",
        *map(str, arguments),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True, text=True)
    return int(done.stdout.split()[-1]) / 1024
