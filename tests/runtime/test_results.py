from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from petclassify import Classifier
from petclassify.errors import EnvironmentFault, ExitCode
from petclassify.runtime.classifier import Prediction
from petclassify.runtime.partial import opened_partial
from petclassify.runtime.photos import find_photos
from petclassify.runtime.results import write_results
from petclassify.runtime.scoring import THREADS_IN_NETWORK, Scored, Source, score_photos
from tests.conftest import REPOSITORY, SMALL_DISK_BYTES, Outcome

Run = Callable[..., Outcome]
Make = Callable[..., list[Path]]
SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"
COMMAND = [sys.executable, "-m", "petclassify", "predict", "--model", str(SHIPPED)]


@pytest.fixture
def predict(petclassify: Run) -> Run:
    """Predict with the shipped model."""
    return lambda *arguments: petclassify("predict", "--model", SHIPPED, *arguments)


def start(*arguments: str | Path, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.Popen(command, stderr=stderr, text=True, cwd=REPOSITORY)


def wait_for_rows(process: subprocess.Popen[str], output: Path) -> None:
    """Wait until some predictions are written: about ten kilobytes of SQLite's log each."""
    log = output.with_name(f"{output.name}.part-wal")
    while process.poll() is None and not (log.exists() and log.stat().st_size > 100_000):
        time.sleep(0.005)


def scored_before(err: str) -> int:
    found = re.search(r"an earlier run was stopped after (\d+) photos", err)
    return int(found.group(1)) if found else 0


def kept(err: str) -> int:
    found = re.search(r"(\d+) of \d+ images were scored by an earlier run", err)
    return int(found.group(1)) if found else 0


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.attack("Kills")
def test_a_killed_job_goes_on_and_gives_the_same_bytes(
    predict: Run, tmp_path: Path, make_photos: Make, suffix: str
) -> None:
    make_photos(tmp_path / "photos", 100)
    (tmp_path / "photos" / "005.png").write_bytes(b"")
    rows = tmp_path / f"rows.{suffix}"
    unbroken = predict(tmp_path / "photos", "--format", suffix).out
    killed = start(tmp_path / "photos", "--output", rows)
    wait_for_rows(killed, rows)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert not rows.exists()
    done = predict(tmp_path / "photos", "--output", rows)
    assert done.code == ExitCode.SOME_IMAGES_FAILED
    assert 0 < kept(done.err) < 99
    assert "1 of 100 images failed" in done.err
    assert rows.read_bytes() == unbroken.encode()
    assert files(tmp_path) == ["photos", rows.name, "workplace"]


def test_a_stopped_job_says_how_it_goes_on(tmp_path: Path, make_photos: Make) -> None:
    make_photos(tmp_path / "photos", 100)
    rows = tmp_path / "rows.csv"
    stopped = start(tmp_path / "photos", "--output", rows, stderr=subprocess.PIPE)
    wait_for_rows(stopped, rows)
    stopped.send_signal(signal.SIGINT)
    err = stopped.communicate()[1]
    assert stopped.returncode == ExitCode.INTERRUPTED
    assert re.search(r"rows.csv: \d+ photos are scored; the same command goes on", err), err


@pytest.mark.slow
@pytest.mark.attack("Kills")
def test_killed_at_any_moment_nothing_is_scored_twice(
    predict: Run, tmp_path: Path, catsdogs: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    unbroken = predict(catsdogs / "test", "--format", "jsonl").out
    before = 0
    for _ in range(6):
        process = start(catsdogs / "test", "--output", rows, stderr=subprocess.PIPE)
        time.sleep(random.uniform(0.2, 0.9))
        process.kill()
        err = process.communicate()[1]
        if rows.exists():  # a quick machine came to the end before the kill
            break
        # What was there is still there, and was not scored again. On a busy machine a kill may
        # come before a word is said.
        assert not err or scored_before(err) >= before, err
        before = max(before, scored_before(err))
    else:
        assert kept(predict(catsdogs / "test", "--output", rows).err) >= before
    assert rows.read_text() == unbroken


@pytest.mark.attack("Kills")
def test_a_signal_leaves_what_is_scored(tmp_path: Path, make_photos: Make) -> None:
    make_photos(tmp_path / "photos", 200)
    process = start(tmp_path / "photos", "--output", tmp_path / "rows.csv")
    wait_for_rows(process, tmp_path / "rows.csv")
    process.terminate()
    assert process.wait() == ExitCode.TERMINATED
    assert files(tmp_path) == ["photos", "rows.csv.part"]
    with sqlite3.connect(tmp_path / "rows.csv.part") as database:
        (count,) = database.execute("SELECT count(*) FROM predictions").fetchone()
    assert 0 < count < 200


def test_what_changed_meanwhile_is_scored_and_the_rest_is_not(
    predict: Run, tmp_path: Path, make_photos: Make
) -> None:
    photos = make_photos(tmp_path / "photos", 30)
    rows = tmp_path / "rows.jsonl"
    leave_partial(tmp_path / "photos", rows)
    photos[10].unlink()
    shutil.copy(photos[5], photos[0])  # changed
    shutil.copy(photos[5], tmp_path / "photos" / "000-new.png")
    os.utime(photos[20])
    done = predict(tmp_path / "photos", "--output", rows)
    assert kept(done.err) == 30 - 3
    assert rows.read_text() == predict(tmp_path / "photos", "--format", "jsonl").out


def test_what_another_command_had_scored_stays_for_it(
    predict: Run, tmp_path: Path, make_photos: Make, caplog: pytest.LogCaptureFixture
) -> None:
    photos = make_photos(tmp_path / "long", 30)
    make_photos(tmp_path / "short", 3, colour=200)
    rows = tmp_path / "rows.jsonl"
    leave_partial(tmp_path / "long", rows)
    photos[0].unlink()
    done = predict(tmp_path / "short", "--output", rows)
    assert "rows.jsonl.part: keeps 29 predictions for the command that was stopped" in caplog.text
    assert rows.read_text() == predict(tmp_path / "short", "--format", "jsonl").out
    done = predict(tmp_path / "long", "--output", rows)
    assert kept(done.err) == 29
    assert rows.read_text() == predict(tmp_path / "long", "--format", "jsonl").out
    assert not rows.with_name("rows.jsonl.part").exists()


def test_another_photo_of_the_same_relative_name_is_scored(
    predict: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same size and time, in another folder, into the same output."""
    rows = tmp_path / "rows.jsonl"
    for folder, colour in (("one", 0), ("two", 200)):
        (tmp_path / folder).mkdir()
        for number in range(40):
            photo = tmp_path / folder / f"{number}.bmp"
            Image.new("RGB", (32, 32), (colour, number, 0)).save(photo)
            os.utime(photo, (0, 0))
    monkeypatch.chdir(tmp_path / "one")
    leave_partial(Path(), rows)
    monkeypatch.chdir(tmp_path / "two")
    done = predict(".", "--output", rows)
    assert kept(done.err) == 0
    assert rows.read_text() == predict(".", "--format", "jsonl").out


def test_photos_behind_a_link_are_not_taken_for_others(
    predict: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same size and time: `link/..` is where the link leads, and a link may be moved."""
    monkeypatch.chdir(tmp_path)
    for folder, colour in (("one/in", 0), ("two/in", 200)):
        Path(folder).mkdir(parents=True)
        for number in range(40):
            photo = Path(folder).parent / f"{number}.bmp"
            Image.new("RGB", (32, 32), (colour, number, 0)).save(photo)
            os.utime(photo, (0, 0))
    rows, link = tmp_path / "rows.jsonl", Path("one/link")
    link.symlink_to("../two/in")
    both = [name for n in range(40) for name in (f"one/link/../{n}.bmp", f"one/{n}.bmp")]
    done = predict(*both, "--output", rows)
    assert rows.read_text() == predict(*both, "--format", "jsonl").out, done.err
    rows.unlink()
    Path("now").symlink_to("one")
    leave_partial(Path("now"), rows)
    Path("now").unlink()
    Path("now").symlink_to("two")
    assert kept(predict("now", "--output", rows).err) == 0
    assert rows.read_text() == predict("now", "--format", "jsonl").out


def test_a_photo_given_twice_was_not_scored_by_an_earlier_run(
    predict: Run, tmp_path: Path, make_photos: Make
) -> None:
    (photo,) = make_photos(tmp_path / "photos", 1)
    done = predict(*[photo] * 60, "--output", tmp_path / "rows.csv")
    assert kept(done.err) == 0
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 61


def test_the_model_is_never_replaced(predict: Run, drawn_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(drawn_run / "model.onnx", run)
    before = (run / "model.onnx").read_bytes()
    arguments = ("--model", run, "--output", run / "model.onnx", "--format", "csv")
    assert predict("photo.jpg", *arguments).code == ExitCode.USAGE
    assert (run / "model.onnx").read_bytes() == before


def test_a_photo_that_failed_is_tried_again(
    predict: Run, tmp_path: Path, make_photos: Make
) -> None:
    photos = make_photos(tmp_path / "photos", 8)
    good = photos[3].read_bytes()
    photos[3].write_bytes(b"")
    rows = tmp_path / "rows.jsonl"
    leave_partial(tmp_path / "photos", rows)
    photos[3].write_bytes(good)
    done = predict(tmp_path / "photos", "--output", rows)
    assert (done.code, kept(done.err)) == (ExitCode.DONE, 7)


OURS = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()


def leave_partial(photos: Path, rows: Path, digest: str = OURS) -> None:
    """Score all photos, and be stopped before the rows are written."""
    classifier = Classifier.load(SHIPPED, THREADS_IN_NETWORK)

    def score_and_stop(found: Iterable[tuple[str, Source]]) -> Iterator[Scored]:
        yield from score_photos(classifier, found)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_results(
            score_and_stop, find_photos([str(photos)]), digest, classifier.class_names, "csv", rows
        )
    assert rows.with_name(f"{rows.name}.part").is_file()
    assert not rows.exists()


def test_another_models_predictions_are_not_mixed_in(
    predict: Run, tmp_path: Path, make_photos: Make
) -> None:
    make_photos(tmp_path / "photos", 4)
    rows = tmp_path / "rows.csv"
    leave_partial(tmp_path / "photos", rows, digest="another model's")
    before = (tmp_path / "rows.csv.part").read_bytes()
    refused = predict(tmp_path / "photos", "--output", rows)
    assert refused.code == ExitCode.USAGE
    assert refused.err.count("\n") == 1
    assert "rows.csv.part" in refused.err
    assert (tmp_path / "rows.csv.part").read_bytes() == before


@pytest.mark.attack("Disks")
def test_two_commands_do_not_write_one_output(
    predict: Run, tmp_path: Path, make_photos: Make
) -> None:
    make_photos(tmp_path / "photos", 150)
    rows = tmp_path / "rows.csv"
    first = start(tmp_path / "photos", "--output", rows)
    wait_for_rows(first, rows)
    second = predict(tmp_path / "photos", "--output", rows)
    assert second.code == ExitCode.USAGE, second.err
    assert "another command is writing" in second.err
    assert first.wait() == ExitCode.DONE
    assert len(rows.read_text().splitlines()) == 151


@pytest.mark.parametrize("content", [b"my notes, do not touch", b"x" * 5000, "database"])
@pytest.mark.attack("Disks")
def test_a_file_of_that_name_that_is_none_of_ours_is_not_touched(
    predict: Run, tmp_path: Path, make_photos: Make, content: bytes | str
) -> None:
    make_photos(tmp_path / "photos", 2)
    partial = tmp_path / "rows.csv.part"
    if isinstance(content, bytes):
        partial.write_bytes(content)
    else:
        database = sqlite3.connect(partial)
        database.execute("CREATE TABLE mine (text)")
        database.close()
    before = partial.read_bytes()
    done = predict(tmp_path / "photos", "--output", tmp_path / "rows.csv")
    assert done.code == ExitCode.ENVIRONMENT
    assert done.err.count("\n") == 1
    assert partial.read_bytes() == before
    assert files(tmp_path) == ["photos", "rows.csv.part", "workplace"]


@pytest.mark.attack("Disks")
def test_a_full_disk_keeps_what_is_scored_and_the_job_goes_on(
    predict: Run, tmp_path: Path, make_photos: Make, small_disk: Path
) -> None:
    make_photos(tmp_path / "photos", 100)
    rows = small_disk / "rows.csv"
    full = predict(tmp_path / "photos", "--output", rows)
    assert full.code == ExitCode.ENVIRONMENT
    assert "disk is full" in full.err
    assert full.err.count("\n") == 1
    assert not rows.exists()
    for left in small_disk.iterdir():  # a larger disk
        shutil.move(left, tmp_path / left.name)
    done = predict(tmp_path / "photos", "--output", tmp_path / "rows.csv")
    assert done.code == ExitCode.DONE
    assert 0 < kept(done.err) < 100
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 101


@pytest.mark.attack("Disks")
def test_a_disk_that_is_full_from_the_start_promises_no_predictions(
    predict: Run, tmp_path: Path, make_photos: Make, small_disk: Path
) -> None:
    make_photos(tmp_path / "photos", 3)
    (small_disk / "filler").write_bytes(bytes(SMALL_DISK_BYTES - 4096))
    full = predict(tmp_path / "photos", "--output", small_disk / "rows.csv")
    assert (full.code, full.err.count("\n")) == (ExitCode.ENVIRONMENT, 1)
    assert "none is scored yet" in full.err
    (small_disk / "filler").unlink()
    done = predict(tmp_path / "photos", "--output", small_disk / "rows.csv")
    assert (done.code, files(small_disk)) == (ExitCode.DONE, ["rows.csv"])


@pytest.mark.attack("Disks")
def test_a_folder_that_cannot_be_listed_is_an_error_row(
    predict: Run, tmp_path: Path, make_photos: Make
) -> None:
    make_photos(tmp_path / "photos", 3)
    make_deep_folder(tmp_path / "photos")
    done = predict(tmp_path / "photos", "--format", "jsonl")
    assert done.code == ExitCode.SOME_IMAGES_FAILED
    outcomes = [json.loads(line) for line in done.out.splitlines()]
    assert ["label" in row for row in outcomes] == [True, True, True, False]
    assert outcomes[-1]["error"]["kind"] == "unreadable"
    assert "cannot be listed" in outcomes[-1]["error"]["message"]
    assert "1 of 4 images failed" in done.err


def make_deep_folder(folder: Path) -> None:
    """A path longer than the system takes, which nobody can list, root neither."""
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("z" * 250, dir_fd=handle)
        below = os.open("z" * 250, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)


def test_parquet_says_what_csv_says(predict: Run, tmp_path: Path, make_photos: Make) -> None:
    make_photos(tmp_path / "photos", 20)
    (tmp_path / "photos" / "003.png").write_bytes(b"no image")
    broken = os.path.join(os.fsencode(tmp_path / "photos"), b"broken \xff.png")  # noqa: PTH118
    shutil.copy(tmp_path / "photos" / "001.png", broken)
    done = predict(tmp_path / "photos", "--output", tmp_path / "rows.parquet")
    assert done.code == ExitCode.SOME_IMAGES_FAILED
    table = pq.read_table(tmp_path / "rows.parquet")
    predict(tmp_path / "photos", "--output", tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(errors="surrogateescape", newline="") as stream:
        expected = list(csv.DictReader(stream))
    assert table.column_names == list(expected[0])
    assert [as_text(row) for row in table.to_pylist()] == [
        row | {"path": row["path"].replace("\udcff", "\\udcff")} for row in expected
    ]


def as_text(row: dict[str, object]) -> dict[str, str]:
    def shown(value: object) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        return str(value).lower() if isinstance(value, bool) else repr(value)

    return {key: shown(value) for key, value in row.items()}


def test_no_photos_scored_leave_no_partial(predict: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = predict(tmp_path / "empty", "--output", tmp_path / "rows.csv")
    assert done.code == ExitCode.DATA
    assert files(tmp_path) == ["empty", "workplace"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--format", "csv", "--output", "rows.jsonl"], ExitCode.USAGE),
        (["--format", "table", "--output", "rows.csv"], ExitCode.USAGE),
        (["--format", "parquet"], ExitCode.USAGE),
        (["--output", "other.jpg", "--format", "csv"], ExitCode.USAGE),
        (["--output", "none/rows.csv"], ExitCode.ENVIRONMENT),
        (["--output", "n" * 254 + ".csv"], ExitCode.ENVIRONMENT),
        (["--output", "n" * 248 + ".csv"], ExitCode.ENVIRONMENT),
        (["s3://bucket/photo.jpg"], ExitCode.USAGE),
        (["-", "--engine", "ray"], ExitCode.USAGE),
    ],
)
def test_refusals_are_one_line(
    predict: Run, tmp_path: Path, make_photos: Make, arguments: Sequence[str], code: ExitCode
) -> None:
    (photo,) = make_photos(tmp_path / "photos", 1)
    done = predict(photo, *arguments)
    assert done.code == code, done.err
    assert done.err.count("\n") == 1


def test_the_format_follows_the_name_of_the_output(
    predict: Run, tmp_path: Path, make_photos: Make
) -> None:
    (photo,) = make_photos(tmp_path / "photos", 1)
    for name, first in (("a.CSV", "path,"), ("a.jsonl", "{"), ("a.txt", "unknown")):
        assert predict(photo, "--output", tmp_path / name).code == ExitCode.DONE
        assert (tmp_path / name).read_text().startswith(first)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_an_address_of_the_web_is_not_taken_for_a_store(predict: Run, engine: str) -> None:
    done = predict("https://example.org/cat.jpg", "--engine", engine)
    assert done.code == ExitCode.USAGE
    assert "photos are not fetched from the web. Download it first" in done.err


@pytest.mark.parametrize("text", ["nonsense", "{}", "[1]", '{"error": {"kind": "odd"}}'])
def test_a_row_that_a_bad_disk_spoilt_is_one_line(tmp_path: Path, text: str) -> None:
    output, photo = tmp_path / "r.csv", tmp_path / "cat.jpg"
    photo.write_bytes(b"")
    photos = [(str(photo), photo)]
    prediction = Prediction("cats", 1.0, {"cats": 1.0, "dogs": 0.0}, known=True, familiarity=1.0)
    with suppress(KeyboardInterrupt), opened_partial(output, "a model") as partial:
        list(partial.unscored(photos))
        partial.add(Scored(str(photo), prediction))
        raise KeyboardInterrupt
    with closing(sqlite3.connect(tmp_path / "r.csv.part")) as database:
        database.execute("UPDATE predictions SET outcome = ?", (text,))
        database.commit()

    def go_on() -> None:
        with opened_partial(output, "a model") as partial:
            list(partial.unscored(photos))
            list(partial.rows())

    with pytest.raises(EnvironmentFault, match="or a damaged one"):
        go_on()
