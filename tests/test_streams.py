from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"


def shell(line: str, *command: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which "$@" is a command of Python."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line, "bash", sys.executable, *map(str, command)],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("line", ['"$@" | true', '"$@" 2>&1 | true', '"$@" 2>/dev/full'])
def test_pictures_are_made_though_nobody_reads_of_it(
    tmp_path: Path, make_photos, line: str
) -> None:
    photos = make_photos(tmp_path / "photos", 3)
    out = tmp_path / "out"
    done = shell(line, "-m", "petclassify", "explain", *photos, "--out", out, "--model", SHIPPED)
    assert done.returncode == 0, done.stderr
    assert len(list(out.iterdir())) == 3
    assert done.stderr == b""


def test_rows_that_nobody_reads_are_not_made(tmp_path: Path, make_photos) -> None:
    make_photos(tmp_path / "photos", 2000)
    code = (
        "import sys, petclassify.runtime.scoring as s; o = s.score_batch; n = []\n"
        "def counted(c, b): n.append(len(b)); return o(c, b)\n"
        "s.score_batch = counted\n"
        "import atexit; atexit.register(lambda: print(sum(n), file=sys.stderr))\n"
        "from petclassify.__main__ import main; main()"
    )
    done = shell('"$@" | true', "-c", code, "predict", tmp_path / "photos", "--model", SHIPPED)
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.split()[-1]) < 1000


def test_a_full_disk_under_stdout_is_one_line(tmp_path: Path, make_photos) -> None:
    make_photos(tmp_path / "photos", 3)
    command = ("-m", "petclassify", "predict", tmp_path / "photos", "--model", SHIPPED)
    done = shell('"$@" > /dev/full', *command)
    assert done.returncode == 6
    assert done.stderr == b"error: the disk is full. Free some space and run the command again\n"


def test_a_file_under_stdout_that_may_not_grow_is_one_line(tmp_path: Path, make_photos) -> None:
    make_photos(tmp_path / "photos", 3)
    command = ("-m", "petclassify", "predict", tmp_path / "photos", "--model", SHIPPED)
    done = shell(f'trap "" XFSZ; ulimit -f 0; "$@" > {tmp_path}/rows', *command)
    assert done.returncode == 6
    assert done.stderr == b"error: the disk is full. Free some space and run the command again\n"


def test_files_never_take_the_place_of_closed_streams(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from petclassify.streams import prepare_streams\n"
        "prepare_streams()\n"
        "print('news')\n"
        "file = open(sys.argv[1], 'w')\n"
        "file.write(str(file.fileno()))"
    )
    place = tmp_path / "descriptor"
    done = shell('"$@" <&- >&- 2>&-', "-c", code, place)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert int(place.read_text()) > 2


def test_what_is_printed_comes_at_once_where_that_is_asked_for() -> None:
    code = (
        "import os\n"
        "from petclassify.streams import prepare_streams\n"
        "prepare_streams()\n"
        "print('news')\n"
        "os._exit(0)"
    )
    assert shell('PYTHONUNBUFFERED=1 "$@"', "-c", code).stdout == b"news\n"
    assert shell('env -u PYTHONUNBUFFERED "$@"', "-c", code).stdout == b""
