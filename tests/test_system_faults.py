from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from petclassify.errors import ExitCode
from petclassify.files import write_whole, written_whole
from petclassify.system_faults import fault_of_system
from tests.conftest import REPOSITORY, Outcome

Run = Callable[..., Outcome]
SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"

pytestmark = pytest.mark.attack("Surroundings")


def require_one_line(done: Outcome, *words: str) -> None:
    assert done.code == ExitCode.ENVIRONMENT, done.err
    (line,) = [line for line in done.err.splitlines() if not line.startswith("model: ")]
    assert line.startswith("error: ")
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "PHOTO", "--model", SHIPPED, "--output", "rows.csv"),
        ("predict", "PHOTO", "--model", SHIPPED, "--output", "rows.txt"),
        ("evaluate", "PETS", "--model", SHIPPED),
        ("explain", "PHOTO", "--model", SHIPPED),
        ("data", "draw"),
        ("data", "draw", "pets"),
    ],
    ids=lambda command: " ".join(map(str, command[:2])),
)
def test_a_deleted_working_folder_is_one_line_where_it_is_written_to(
    petclassify: Run, make_photos, tmp_path: Path, command: tuple[str | Path, ...]
) -> None:
    pets = tmp_path / "pets"
    (photo, *_) = make_photos(pets / "cats", 2)
    make_photos(pets / "dogs", 2, colour=99)
    named = {"PHOTO": str(photo), "PETS": str(pets)}
    Path.cwd().rmdir()
    done = petclassify(*[named.get(str(word), word) for word in command])
    require_one_line(done, "the working folder was deleted. Change to another")


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "none.jpg", "--model", SHIPPED, "--output", "CLOSED/sub/rows.csv"),
        ("evaluate", "CLOSED/pets", "--model", SHIPPED),
        ("train", "CLOSED/pets"),
        ("predict", "none.jpg"),
    ],
    ids=lambda command: command[0],
)
def test_a_folder_that_may_not_be_entered_is_one_line(
    tmp_path: Path, command: tuple[str | Path, ...]
) -> None:
    """The last of them has it in ./models, where the model last trained would be."""
    closed = tmp_path / "models"
    closed.mkdir(mode=0)
    given = [str(word).replace("CLOSED", str(closed)) for word in command]
    line = [sys.executable, "-m", "petclassify", *given]
    if os.getuid() == 0:
        line = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *line]
    done = subprocess.run(
        line,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    require_one_line(Outcome(done.returncode, done.stdout, done.stderr), "ermission denied")


def test_a_folder_that_goes_while_a_file_is_written_is_one_line(
    petclassify: Run, tmp_path: Path, make_photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    make_photos(photos, 2)
    out.mkdir()

    def gone(temporary: Path) -> None:
        temporary.unlink()
        out.rmdir()

    from petclassify.runtime import predict

    def scored(*_: object) -> list[object]:
        (temporary,) = out.iterdir()
        gone(temporary)
        return []

    monkeypatch.setattr(predict, "score_photos", scored)
    done = petclassify("predict", photos, "--model", SHIPPED, "--output", out / "rows.txt")
    require_one_line(done, f"{out / 'rows.txt'}: cannot be written", "was removed meanwhile")


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.EIO, "the disk gave an error"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EROFS, "read-only"),
        (errno.ENOMEM, "memory"),
        (errno.EDQUOT, "disk is full"),
        (errno.ENOTCONN, "does not answer"),
        (errno.ETIMEDOUT, "does not answer"),
        (errno.ELOOP, "leads back to itself"),
    ],
)
def test_what_the_system_refuses_is_named(number: int, word: str) -> None:
    fault = fault_of_system(OSError(number, os.strerror(number), "place"))
    assert fault is not None
    assert str(fault).startswith("place: ")
    assert word in str(fault)


def test_a_library_that_finds_no_room_is_one_line(tmp_path: Path, make_photos) -> None:
    for colour, name in enumerate(("cats", "dogs")):
        make_photos(tmp_path / "pets" / name, 3, colour)
    line = "ulimit -v 1500000; exec $0 -m petclassify train pets"
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", line, sys.executable],
        cwd=tmp_path,
        env=os.environ | threads | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    require_one_line(Outcome(done.returncode, done.stdout, done.stderr), "the memory is full")


def test_a_network_that_finds_no_room_is_no_fault_of_the_model() -> None:
    code = """
import resource, sys
import numpy as np
from pathlib import Path
from petclassify import Classifier
from petclassify.errors import EnvironmentFault
classifier = Classifier.load(sys.argv[1])
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 30 * 2**20, resource.RLIM_INFINITY))
try:
    classifier.run(np.zeros((64, 224, 224, 3), np.uint8))
except EnvironmentFault as fault:
    print(fault)
"""
    model = REPOSITORY / "models" / "catsdogs.onnx"
    done = subprocess.run(
        [sys.executable, "-c", code, model],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the memory is too small" in done.stdout, done.stderr


def test_threads_that_may_not_be_started_are_named() -> None:
    assert "ulimit -u" in str(fault_of_system(RuntimeError("can't start new thread")))


@pytest.mark.parametrize("name", ["RANK", "HF_HUB_DOWNLOAD_TIMEOUT", "TORCH_LOGS"])
def test_a_variable_that_a_library_cannot_read_is_one_line(
    tmp_path: Path, make_photos, name: str
) -> None:
    for colour, animal in enumerate(("cats", "dogs")):
        make_photos(tmp_path / "pets" / animal, 3, colour)
    done = subprocess.run(
        [sys.executable, "-m", "petclassify", "train", "pets"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), name: "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = Outcome(done.returncode, done.stdout, done.stderr)
    require_one_line(told, f"{name} is 'nonsense'", "unset it")


def test_what_is_no_refusal_stays_a_bug() -> None:
    for error in (FileNotFoundError(errno.ENOENT, "no", "x"), ValueError("x"), OSError("x")):
        assert fault_of_system(error) is None
    assert "memory" in str(fault_of_system(MemoryError()))


def test_want_of_memory_is_known_however_a_library_says_it() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 50, dtype=torch.uint8)
    assert "the memory is full" in str(fault_of_system(refused.value))
    assert fault_of_system(RuntimeError("more than one element of a memory location")) is None


def test_a_file_that_is_not_there_to_be_flushed_stays_a_bug(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "x") as temporary:
        temporary.unlink()
    write_whole(tmp_path / "x", b"whole")
    assert (tmp_path / "x").read_bytes() == b"whole"


_ASKS_FOR_A_TEMPORARY_FILE = """
import tempfile
from petclassify.system_faults import fault_of_system

try:
    tempfile.gettempdir()
except OSError as error:
    print(fault_of_system(error))
"""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-m", "petclassify", "networks"], "From scratch:"),  # needs none, nor does torch
        (["-c", _ASKS_FOR_A_TEMPORARY_FILE], "no folder for temporary files can be written"),
    ],
    ids=["not needed", "needed"],
)
def test_nowhere_to_put_temporary_files_is_one_line_where_they_are_needed(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    """As where the disk is full that the system and the working folder lie on."""
    limited = ["bash", "-c", 'ulimit -f 0; "$@"', "bash"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    # torch sets it in its own process, and looks for no other place where it is set.
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    done = subprocess.run(
        [*limited, sys.executable, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert told in done.stdout


def test_a_file_called_after_a_fault_is_no_fault_of_the_system(petclassify: Run) -> None:
    done = petclassify("predict", "a.jpg", "--model", "out of memory.onnx")
    assert done.code == ExitCode.MODEL
    assert "no such model" in done.err
