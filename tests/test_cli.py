from __future__ import annotations

import array
import csv
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from petclassify.config import TrainConfig
from petclassify.errors import ExitCode, UsageError
from petclassify.images.drawn_pets import draw_pets
from tests.conftest import REPOSITORY, Outcome

Run = Callable[..., Outcome]
COMMANDS = [
    *("train", "predict", "evaluate", "explain", "export", "compare", "networks", "serve", "demo"),
    *("data draw", "data fetch", "data check", "data preview"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen(petclassify: Run, command: str) -> None:
    done = petclassify(*command.split(), "--help")
    assert done.code == 0
    assert len(done.out.splitlines()) <= 40


def test_the_levers_have_a_help_of_their_own(petclassify: Run) -> None:
    levers = petclassify("train", "--help-levers")
    usual = petclassify("train", "--help")
    assert "--label-smoothing" in levers.out
    assert "--label-smoothing" not in usual.out
    assert "--backbone" in usual.out
    assert "--backbone" not in levers.out


def test_version(petclassify: Run) -> None:
    assert petclassify("--version").out.startswith("petclassify 0.")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["train"], ExitCode.USAGE),
        (["train", "none", "--seed", "x"], ExitCode.USAGE),
        (["nonsense"], ExitCode.USAGE),
        (["train", "none", "--unfreeze", "some"], ExitCode.USAGE),
        (["train", "none", "--lr", "nan"], ExitCode.USAGE),
        (["train", "none", "--lr", "0"], ExitCode.USAGE),
        (["train", "none", "--epochs", "0"], ExitCode.USAGE),
        (["train", "none", "--scale", "0"], ExitCode.USAGE),
        (["data", "preview", "none"], ExitCode.DATA),
        (["data", "check", "none"], ExitCode.DATA),
        (["data", "check", "none", "--backbone", "zoo/nin"], ExitCode.USAGE),
        (["data", "fetch", "mnits"], ExitCode.USAGE),
        (["compare", "none"], ExitCode.DATA),
        (["evaluate", "mnist"], ExitCode.DATA),
        (["data", "fetch", "mnist", "--data-root", __file__], ExitCode.ENVIRONMENT),
        (["train", "mnist", "--data-root", __file__], ExitCode.ENVIRONMENT),
        (["data", "preview", "none", "--rotate", "nan"], ExitCode.USAGE),
        (["predict"], ExitCode.USAGE),
        (["predict", "x.jpg", "--format", "xml"], ExitCode.USAGE),
        (["train", "none"], ExitCode.DATA),
        (["evaluate", "none"], ExitCode.DATA),
        (["predict", "none.jpg"], ExitCode.SOME_IMAGES_FAILED),
        (["predict", "none.jpg", "--model", "none.onnx"], ExitCode.MODEL),
        (["evaluate", ".", "--model", "none.onnx"], ExitCode.DATA),
        (["explain", ".", "--model", "none.onnx"], ExitCode.MODEL),
        (["export", "none"], ExitCode.MODEL),
    ],
)
def test_each_refusal_is_one_line_with_its_exit_code(
    petclassify: Run, arguments: list[str], code: ExitCode
) -> None:
    done = petclassify(*arguments)
    assert done.code == code
    lines = [line for line in done.err.splitlines() if not line.startswith("model:")]
    assert len(lines) == 1, done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "case",
    [
        (ExitCode.MODEL, "predict", "x.jpg", "--model", "{long}"),
        (ExitCode.ENVIRONMENT, "predict", "x.jpg", "--output", "{long}/rows.csv"),
        (ExitCode.USAGE, "evaluate", "{long}"),
        (ExitCode.USAGE, "evaluate", ".", "--report", "{long}"),
        (ExitCode.USAGE, "export", "{long}"),
        (ExitCode.USAGE, "train", "{long}"),
        (ExitCode.USAGE, "train", "{pets}", "--weights", "{long}.pth"),
        (ExitCode.USAGE, "data", "check", "{long}"),
    ],
    ids=lambda case: " ".join(case[1:3]),
)
def test_a_path_that_no_file_can_have_is_no_bug(
    petclassify: Run, make_photos, tmp_path: Path, case: tuple[ExitCode, ...]
) -> None:
    for name in ("cats", "dogs"):
        make_photos(tmp_path / "pets" / name)
    given = [one.format(long="x" * 300, pets=tmp_path / "pets") for one in case[1:]]
    done = petclassify(*given)
    assert done.code == case[0]
    assert "name too long" in done.err.lower()
    assert "xxx" in done.err
    assert "bug" not in done.err


def test_weights_none_and_missing_weights_are_refused_before_torch_loads(
    petclassify: Run, drawn_pets: Path
) -> None:
    none = petclassify("train", drawn_pets, "--backbone", "resnet18", "--weights", "none")
    assert (none.code, none.err.count("\n")) == (ExitCode.USAGE, 1)
    missing = petclassify("train", drawn_pets, "--weights", "missing.safetensors")
    assert (missing.code, missing.err.count("\n")) == (ExitCode.MODEL, 1)
    for done in (none, missing):
        assert not Path("models").exists(), done


def test_a_bug_is_one_line_and_debug_shows_it(
    petclassify: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("petclassify.runtime.predict.predict", broken)
    done = petclassify("predict", "x.jpg")
    assert done.code == ExitCode.BUG
    assert "bug in petclassify: ZeroDivisionError: oops" in done.err
    assert "Traceback" not in done.err
    shown = petclassify("--debug", "predict", "x.jpg")
    assert (shown.code, "Traceback" in shown.err) == (ExitCode.BUG, True)


def test_debug_shows_where_a_failure_was_found_and_keeps_its_code(petclassify: Run) -> None:
    done = petclassify("predict", "x.jpg", "--model", "missing.onnx", "--debug")
    assert done.code == ExitCode.MODEL
    assert "Traceback" in done.err
    assert "error: missing.onnx: no such model" in done.err


def test_a_reader_that_has_enough_is_no_failure(tmp_path: Path, make_photos) -> None:
    make_photos(tmp_path / "many", 400)
    command = f"{sys.executable} -m petclassify predict {tmp_path / 'many'} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=REPOSITORY, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
def test_a_signal_ends_the_command_with_its_code(
    tmp_path: Path, make_photos, number: signal.Signals, code: ExitCode
) -> None:
    make_photos(tmp_path / "many", 3000)
    running = subprocess.Popen(
        [sys.executable, "-m", "petclassify", "predict", str(tmp_path / "many")],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    os.set_blocking(running.stdout.fileno(), True)
    running.stdout.readline()
    running.send_signal(number)
    start = time.monotonic()
    _, errors = running.communicate(timeout=30)
    assert running.returncode == code
    assert time.monotonic() - start < 5
    assert b"Traceback" not in errors


@pytest.mark.parametrize("module", ["typer", "petclassify.cli", "onnxruntime"])
def test_a_signal_during_the_imports_ends_the_command_with_its_code(
    tmp_path: Path, module: str
) -> None:
    # The interrupt comes as the module begins to be imported.
    script = f"""
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["petclassify", "predict", "x.jpg"]
from petclassify.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (ExitCode.INTERRUPTED, b"")
    assert done.stderr.strip() == b"stopped"


@pytest.mark.parametrize("module", ["numpy", "onnxruntime"])
def test_a_signal_that_an_import_swallows_ends_the_command_all_the_same(module: str) -> None:
    # As numpy's, torch's and the import system's own handlers of anything do.
    script = f"""
import os, signal, sys
class Swallowing:
    def find_spec(self, name, path=None, target=None):
        try:
            if name == {module!r}:
                os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            pass
sys.meta_path.insert(0, Swallowing())
sys.argv = ["petclassify", "predict", "x.jpg"]
from petclassify.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (ExitCode.INTERRUPTED, b""), done.stderr
    assert done.stderr.strip() == b"stopped"


def test_a_signal_that_an_import_takes_for_a_failure_ends_the_command_all_the_same(
    tmp_path: Path,
) -> None:
    script = """
import os, signal, sys
from petclassify.__main__ import main
import petclassify.runtime.predict as room
def importing(*given, **named):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000): pass
    except BaseException:
        raise ImportError("half a module")
room.predict = importing
sys.argv = ["petclassify", "predict", "x.jpg"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, check=False
    )
    assert done.returncode == ExitCode.TERMINATED, done.stderr
    assert b"Traceback" not in done.stderr


def test_a_signal_that_is_ignored_from_the_start_stays_so() -> None:
    """As shells have SIGINT ignored for what they run in the background."""
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "from petclassify.__main__ import main; "
        "sys.argv = ['petclassify', 'predict', '-']; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stderr is not None
        running.stderr.readline()  # which model: it reads stdin next
        running.send_signal(signal.SIGINT)
        _, _ = running.communicate(b"no photo", timeout=20)
    assert running.returncode == ExitCode.SOME_IMAGES_FAILED


def test_a_signal_that_a_callback_swallows_ends_the_command_with_its_code_later() -> None:
    # As code in C does that called back into Python.
    script = """
import os, signal, sys, weakref
from petclassify.__main__ import main
import petclassify.runtime.predict as room
class Thing:
    pass
def swallowing(*given, **named):
    thing = Thing()
    watched = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del thing
    print("gone on", flush=True)
    return predict(*given, **named)
predict, room.predict = room.predict, swallowing
sys.argv = ["petclassify", "predict", "x.jpg"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, check=False
    )
    assert done.stdout.startswith(b"gone on")
    assert done.returncode == ExitCode.TERMINATED, done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_whose_reader_reads_no_longer(
    tmp_path: Path, make_photos, number: signal.Signals
) -> None:
    make_photos(tmp_path / "many", 400)
    command = [sys.executable, "-m", "petclassify", "predict", str(tmp_path / "many")]
    with subprocess.Popen(
        [*command, "--format", "jsonl"], cwd=REPOSITORY, stdout=subprocess.PIPE, pipesize=4096
    ) as running:
        assert running.stdout is not None
        unread = array.array("i", [0])
        while unread[0] < 3000:
            time.sleep(0.05)
            fcntl.ioctl(running.stdout, termios.FIONREAD, unread)
        time.sleep(0.5)  # until it is full
        running.send_signal(number)
        try:
            assert running.wait(5) == 128 + number
        finally:
            running.kill()


@pytest.mark.parametrize(
    "stops",
    [
        'print("a row", end=""); os.kill(os.getpid(), signal.SIGTERM)',
        "raise Interrupting",
    ],
    ids=["stdout full", "while a failure is told"],
)
def test_a_signal_at_the_end_of_a_command_is_no_traceback(stops: str) -> None:
    script = f"""
import os, signal, sys
from petclassify.__main__ import main
from petclassify.errors import DataError
import petclassify.runtime.predict as room
class Interrupting(DataError):
    def __str__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return "none"
def stopped(*given, **named):
    {stops}
room.predict = stopped
sys.argv = ["petclassify", "predict", "x.jpg"]
main()
"""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == ExitCode.TERMINATED, done.stderr
    assert b"Traceback" not in done.stderr


def test_demo_goes_the_whole_way(
    petclassify: Run, monkeypatch: pytest.MonkeyPatch, feature_cache: Path
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: feature_cache)
    done = petclassify("demo")
    assert done.code == 0, done.err
    assert len(list(Path("data/drawn-pets").rglob("*.jpg"))) == 200
    assert Path("models/latest/model.onnx").is_file()
    assert "report.html" in done.out
    assert "petclassify train DIR" in done.out
    (example,) = re.findall(r"\$ petclassify predict data/drawn-pets/(\S+)", done.out)
    with Path("models/latest/photos.csv").open(newline="") as stream:
        split_of = {row["path"]: row["split"] for row in csv.DictReader(stream)}
    assert split_of[example] == "test"
    page = Path("models/latest/report.html").read_text()
    assert "<pre>petclassify train data/drawn-pets</pre>" in page  # the line that goes on, too


def test_demo_leaves_models_latest_to_the_users_run(
    petclassify: Run, monkeypatch: pytest.MonkeyPatch, feature_cache: Path, drawn_run: Path
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: feature_cache)
    shutil.copytree(drawn_run, "models/mine")
    Path("models/latest").symlink_to("mine")
    draw_pets(Path("few"), count=20, seed=0)
    done = petclassify("demo", "--data", "few")
    assert done.code == 0, done.err
    assert Path("models/latest").resolve().name == "mine"
    assert "--model models/few-tf_efficientnet_lite0" in done.out
    (example,) = (
        line.split()[3] for line in done.out.splitlines() if "$ petclassify predict" in line
    )
    assert "model: models/latest/model.onnx (mine)" in petclassify("predict", example).err


def test_demo_fills_a_folder_that_is_empty(
    petclassify: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(config: TrainConfig, command: str, **_: object) -> None:
        raise UsageError(f"would train on {config.data}")

    monkeypatch.setattr("petclassify.commands.demo.run_training", stop)
    Path("pets").mkdir()
    done = petclassify("demo", "--data", "pets")
    assert "would train on pets" in done.err
    assert len(list(Path("pets").rglob("*.jpg"))) == 200


def test_a_misspelt_backbone_is_refused_before_torch_and_the_hub(
    petclassify: Run, drawn_pets: Path
) -> None:
    done = petclassify("train", drawn_pets, "--backbone", "resnet81")
    assert (done.code, done.err.count("\n")) == (ExitCode.USAGE, 1)
    assert "unknown backbone 'resnet81': did you mean resnet18" in done.err


@pytest.mark.parametrize("given", ["none", ".", __file__])
def test_what_is_no_run_folder_is_named_for_what_it_is(petclassify: Run, given: str) -> None:
    says = {"none": "no such run folder", ".": "not a run folder", __file__: "is a file"}[given]
    done = petclassify("export", given)
    assert (done.code, done.err.count("\n")) == (ExitCode.MODEL, 1)
    assert says in done.err
