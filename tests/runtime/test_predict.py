from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from petclassify import Classifier
from petclassify.errors import ExitCode, ImageError, ImageFault
from petclassify.runtime.classifier import Prediction
from petclassify.runtime.output import holds_rows, row_writer
from petclassify.runtime.parquet import parquet_writer
from petclassify.runtime.scoring import Scored
from tests.conftest import REPOSITORY, Outcome

Run = Callable[..., Outcome]
SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def test_what_is_no_photo_is_told_what_one_is(photo: Path) -> None:
    with pytest.raises(TypeError, match=r"a photo is a path, .*, not list"):
        Classifier.load(SHIPPED).predict([photo])  # type: ignore[arg-type]


def test_the_front_door(photo: Path) -> None:
    found = Classifier.load(SHIPPED).predict(str(photo))
    assert found.label in ("cats", "dogs")
    assert found.probability == max(found.probabilities.values())
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_path_bytes_and_image_predict_alike(photo: Path) -> None:
    classifier = Classifier.load(SHIPPED)
    with Image.open(photo) as image:
        image.load()
        assert (
            classifier.predict(photo)
            == classifier.predict(photo.read_bytes())
            == classifier.predict(image)
        )


def test_noise_is_unknown_and_says_what_it_is_closest_to(petclassify: Run, photo: Path) -> None:
    shown = petclassify("predict", photo, "--model", SHIPPED).out
    assert shown.startswith("unknown")
    assert "(closest: " in shown
    forced = petclassify("predict", photo, "--model", SHIPPED, "--force").out
    assert forced.split()[0] in ("cats", "dogs")
    (row,) = rows(petclassify("predict", photo, "--model", SHIPPED, "--format", "jsonl").out)
    assert row["known"] is False
    assert 0 <= row["familiarity"] < 0.7
    assert row["label"] in ("cats", "dogs")
    table = petclassify("predict", photo, "--model", SHIPPED, "--format", "csv").out
    (row,) = csv.DictReader(io.StringIO(table))
    assert row["known"] == "false"


def test_real_pets_are_known(petclassify: Run, catsdogs: Path) -> None:
    done = petclassify("evaluate", catsdogs, "--model", SHIPPED, "--format", "json")
    assert json.loads(done.out)["known_share"] >= 0.98


def test_the_library_raises_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        Classifier.load(SHIPPED).predict(tmp_path / "none.jpg")


def test_the_shipped_model_knows_real_cats_and_dogs(petclassify: Run, catsdogs: Path) -> None:
    for name in ("cats", "dogs"):
        done = petclassify("predict", catsdogs / "test" / name, "--format", "jsonl")
        labels = [row["label"] for row in rows(done.out)]
        assert len(labels) == 250
        assert labels.count(name) / 250 > 0.98


def test_the_shipped_model_has_a_name_wherever_one_works(petclassify: Run, photo: Path) -> None:
    named = petclassify("predict", photo, "--format", "jsonl", "--model", "catsdogs")
    assert named.code == 0, named.err
    assert rows(named.out)[0]["probabilities"].keys() == {"cats", "dogs"}
    Path("catsdogs").mkdir()  # a run folder of the user's own comes first
    assert petclassify("predict", photo, "--model", "catsdogs").code == ExitCode.MODEL


def test_json_rows_have_the_documented_keys_in_input_order(petclassify: Run, photo: Path) -> None:
    bad = photo.with_name("a.jpg")
    bad.write_bytes(b"")
    done = petclassify("predict", photo, bad, photo, "--format", "jsonl", "--model", SHIPPED)
    assert done.code == ExitCode.SOME_IMAGES_FAILED
    first, second, third = rows(done.out)
    assert set(first) == {
        *("path", "label", "probability", "probabilities", "known", "familiarity")
    }
    assert second == {
        "path": str(bad),
        "error": {"kind": "empty", "message": "the file is empty"},
    }
    assert first == third
    assert "1 of 3 images failed" in done.err


def test_csv_rows(petclassify: Run, photo: Path) -> None:
    missing = photo.with_name("none.jpg")
    done = petclassify("predict", photo, missing, "--format", "csv", "--model", SHIPPED)
    good, bad = csv.DictReader(io.StringIO(done.out))
    assert float(good["probability"]) == max(
        float(good["probability_cats"]), float(good["probability_dogs"])
    )
    assert bad["label"] == ""
    assert bad["error_kind"] == "missing"


def test_table_rows(petclassify: Run, photo: Path) -> None:
    done = petclassify("predict", photo, "--model", SHIPPED, "--force")
    assert done.code == 0
    assert done.out.rstrip().endswith(str(photo))
    assert "%" in done.out


def test_many_photos_come_in_order(petclassify: Run, tmp_path: Path, make_photos) -> None:
    photos = make_photos(tmp_path / "many", 50)
    done = petclassify("predict", tmp_path / "many", "--format", "jsonl", "--model", SHIPPED)
    assert [row["path"] for row in rows(done.out)] == [str(path) for path in photos]


def test_odd_names_survive_in_every_format(petclassify: Run, tmp_path: Path, photo: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [b"line\nbreak.png", b"re\rturn.png", "emoji \U0001f431.png".encode()]
    names.append(b"red \x1b[31m.png")
    for name in names:
        shutil.copy(photo, os.path.join(os.fsencode(folder), name))  # noqa: PTH118
    expected = {os.fsdecode(name) for name in names}
    as_json = petclassify("predict", folder, "--format", "jsonl", "--model", SHIPPED).out
    assert {Path(row["path"]).name for row in rows(as_json)} == expected
    as_csv = petclassify("predict", folder, "--format", "csv", "--model", SHIPPED).out
    assert {Path(row["path"]).name for row in csv.DictReader(io.StringIO(as_csv))} == expected
    table = petclassify("predict", folder, "--model", SHIPPED).out
    assert len(table.splitlines()) == len(names)
    assert "\x1b" not in table


class Terminal(io.StringIO):
    """What stdout is where somebody looks at it."""

    def isatty(self) -> bool:
        return True


def test_names_do_not_command_a_terminal_that_is_shown_csv() -> None:
    odd = "red \x1b[31m\n.png"
    prediction = Prediction(odd, 1.0, {odd: 1.0}, known=True, familiarity=1.0)
    fault = ImageError(ImageFault.DAMAGED, f"damaged image: {odd}")
    for stream, escaped in ((Terminal(), True), (io.StringIO(newline=""), False)):
        write = row_writer("csv", stream, [odd])
        write(Scored(odd, prediction))
        write(Scored(odd, fault))
        assert ("\x1b" not in stream.getvalue()) == escaped
        assert (len(stream.getvalue().splitlines()) == 3) == escaped


def test_broken_utf8_survives(tmp_path: Path, photo: Path) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"broken \xff.png")  # noqa: PTH118
    shutil.copy(photo, name)
    command = [sys.executable, "-m", "petclassify", "predict", "--model", str(SHIPPED), name]
    for output_format in ("jsonl", "csv", "table"):
        done = subprocess.run(
            [*command, "--format", output_format], capture_output=True, check=True
        )
        if output_format == "jsonl":
            assert os.fsencode(json.loads(done.stdout)["path"]) == name
        elif output_format == "csv":
            assert name in done.stdout
        else:
            assert rb"broken \udcff.png" in done.stdout


def test_stdin_is_a_photo(photo: Path) -> None:
    command = [sys.executable, "-m", "petclassify", "predict", "-", "--format", "jsonl"]
    for content, key in ((photo.read_bytes(), "label"), (b"", "error")):
        done = subprocess.run(
            [*command, "--model", str(SHIPPED)], input=content, capture_output=True, check=False
        )
        (row,) = rows(done.stdout.decode())
        assert row["path"] == "-"
        assert key in row


@pytest.mark.attack("Surroundings")
@pytest.mark.parametrize(
    ("given", "kind", "word"),
    [
        ("write-only", "unreadable", "bad file descriptor"),
        ("endless", "too_large", "Give a file"),
        ("empty for now", "unreadable", "yet"),
    ],
)
def test_a_stdin_that_cannot_be_read_to_its_end_is_that_image_s_error(
    tmp_path: Path, given: str, kind: str, word: str
) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)  # the process inherits that
    stdins = {
        "write-only": (tmp_path / "file").open("wb"),
        "endless": Path("/dev/zero").open("rb"),  # noqa: SIM115
        "empty for now": os.fdopen(reader, "rb"),
    }
    command = [sys.executable, "-m", "petclassify", "predict", "-", "--format", "jsonl"]
    done = subprocess.run(
        command, stdin=stdins[given], cwd=REPOSITORY, capture_output=True, check=False
    )
    for opened in stdins.values():
        opened.close()
    os.close(writer)
    assert done.returncode == ExitCode.SOME_IMAGES_FAILED, done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == kind
    assert word in error["message"]


def test_stdin_is_a_photo_under_its_device_s_name_too(photo: Path) -> None:
    command = [sys.executable, "-m", "petclassify", "predict", "/dev/stdin", "--format", "jsonl"]
    done = subprocess.run(
        [*command, "--model", str(SHIPPED)],
        input=photo.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["path"] == "/dev/stdin"


def test_output_goes_to_a_file_whole(petclassify: Run, tmp_path: Path, photo: Path) -> None:
    target = tmp_path / "rows.csv"
    done = petclassify("predict", photo, "--format", "csv", "--output", target, "--model", SHIPPED)
    assert done.out == ""
    assert len(target.read_text().splitlines()) == 2
    before = target.read_text()
    empty = tmp_path / "empty"
    empty.mkdir()
    failed = petclassify("predict", photo, empty, "--output", target, "--model", SHIPPED)
    assert failed.code == ExitCode.DATA
    assert target.read_text() == before
    assert not list(tmp_path.glob(".*tmp"))


def test_the_model_last_trained_here_is_the_default(
    petclassify: Run, photo: Path, drawn_run: Path
) -> None:
    assert f"model: {SHIPPED}, which ships" in petclassify("predict", photo).err
    shutil.copytree(drawn_run, "models/mine")
    Path("models/latest").symlink_to("mine")
    assert (
        f"model: {Path('models/latest/model.onnx')} (mine)\n" in petclassify("predict", photo).err
    )
    Path("models/latest").unlink()
    Path("models/latest").write_text("mine\n")
    assert f"model: {Path('models/mine/model.onnx')}" in petclassify("predict", photo).err
    assert petclassify("predict", photo, "--model", "models/latest").code == ExitCode.DONE
    Classifier.load("models/latest")
    shutil.rmtree("models/mine")
    told = petclassify("predict", photo).err
    assert f"{SHIPPED}, which ships: models/latest names no model" in told


def test_the_name_of_the_default_model_cannot_command_a_terminal(
    petclassify: Run, photo: Path, drawn_run: Path
) -> None:
    shutil.copytree(drawn_run, "models/my\abell\nnow")
    Path("models/latest").symlink_to("my\abell\nnow")
    told = petclassify("predict", photo).err
    assert told == f"model: {Path('models/latest/model.onnx')} (my\\x07bell\\nnow)\n"


@pytest.mark.parametrize("name", ["notes.txt", "exclude.csv", "rows.jsonl", "table.parquet"])
def test_output_never_replaces_a_file_that_holds_no_rows(
    petclassify: Run, photo: Path, name: str
) -> None:
    contents = {
        "notes.txt": b"cats are nice\n",
        "exclude.csv": b"path,reason\ncats/1.jpg,no cat\n",
        "rows.jsonl": b'{"path": "cats/1.jpg", "name": "Tom"}\n',
        "table.parquet": b"PAR1" + bytes(100) + b"PAR1",
    }
    mine = Path(name)
    mine.write_bytes(contents[name])
    done = petclassify("predict", photo, "--model", SHIPPED, "--output", mine)
    assert done.code == ExitCode.USAGE
    assert f"--output {name}: is there, and holds no rows of petclassify" in done.err
    assert mine.read_bytes() == contents[name]


@pytest.mark.parametrize("name", ["rows.txt", "rows.csv", "rows.jsonl", "rows.parquet"])
def test_rows_of_an_earlier_run_are_replaced(petclassify: Run, photo: Path, name: str) -> None:
    bad = photo.with_name("bad.jpg")
    bad.write_bytes(b"")
    for photos in ([bad, photo], [photo], [photo, bad]):
        done = petclassify("predict", *photos, "--model", SHIPPED, "--output", name)
        assert f"{len(photos)} rows" in done.err


def test_rows_of_many_classes_are_replaced(tmp_path: Path) -> None:
    names = [f"kind of thing {number}" for number in range(600)]
    sure = Prediction(names[0], 1.0, dict.fromkeys(names, 1 / len(names)), True, 1.0)
    path = tmp_path / "rows.parquet"
    with parquet_writer(path, names) as write:
        write(Scored("a.jpg", sure))
    assert holds_rows(path)


def test_a_model_that_is_none_is_refused(petclassify: Run, photo: Path) -> None:
    done = petclassify("predict", photo, "--model", photo)
    assert done.code == ExitCode.MODEL
    assert done.err.count("\n") == 1


def test_predict_never_loads_torch(photo: Path) -> None:
    script = (
        "import sys; from petclassify.cli import app;"
        f"app(['predict', {str(photo)!r}, '--model', {str(SHIPPED)!r}], standalone_mode=False);"
        "loaded = {'torch', 'torchvision', 'timm', 'onnx', 'sklearn', 'matplotlib', 'rich'};"
        "loaded |= {'sqlite3', 'pyarrow', 'ray'};"
        "sys.exit(str(loaded & set(sys.modules)) if loaded & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_predict_writes_nothing_below_home(photo: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-m", "petclassify", "predict", str(photo), "--model", str(SHIPPED)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    subprocess.run(command, env=environment | {"HOME": str(home)}, check=True, capture_output=True)
    assert list(home.rglob("*")) == []


def test_output_never_replaces_what_is_read_or_a_device(
    petclassify: Run, photo: Path, tmp_path: Path
) -> None:
    before = photo.read_bytes()
    link = tmp_path / "link.csv"
    link.symlink_to(photo)
    for target in (photo, link):
        done = petclassify("predict", photo, "--output", target, "--model", SHIPPED)
        assert done.code == ExitCode.USAGE
    assert photo.read_bytes() == before
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = petclassify("predict", photo, "--output", pipe, "--model", SHIPPED)
    assert done.code == ExitCode.ENVIRONMENT
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["rows.csv", "rows.txt"])
def test_a_pipe_behind_a_link_is_named_as_what_cannot_be_replaced(
    photo: Path, tmp_path: Path, name: str
) -> None:
    """As /dev/stdout is one; its real name is in /proc, where nothing can be made."""
    (tmp_path / name).symlink_to("/dev/stdout")
    command = ["predict", str(photo), "--model", str(SHIPPED), "--output", str(tmp_path / name)]
    done = subprocess.run(
        [sys.executable, "-m", "petclassify", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.ENVIRONMENT
    finding = "cannot be written, it is no regular file. Name a file"
    assert done.stderr == f"error: {tmp_path / name}: {finding}\n"


def test_a_file_that_the_shell_appends_to_is_not_replaced(photo: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("of yesterday\n")
    command = ["predict", str(photo), "--model", str(SHIPPED), "--format", "csv"]
    with log.open("a") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "petclassify", *command, "--output", "/dev/stdout"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert log.read_text() == "of yesterday\n"
    assert done.returncode == ExitCode.ENVIRONMENT
    assert done.stderr == (
        "error: /dev/stdout: cannot be replaced, stdout or stderr goes there. Name another file\n"
    )


def test_output_never_replaces_a_photo_of_a_folder_through_a_link(
    petclassify: Run, photo: Path, tmp_path: Path
) -> None:
    before = photo.read_bytes()
    link = tmp_path / "rows.csv"
    link.symlink_to(photo)
    done = petclassify("predict", photo.parent, "--output", link, "--model", SHIPPED)
    assert done.code == ExitCode.USAGE
    assert photo.read_bytes() == before


def test_a_latest_that_names_nothing_leaves_the_shipped_model(
    petclassify: Run, photo: Path
) -> None:
    latest = Path("models/latest")
    latest.parent.mkdir()
    for content in (b"\xff\xfe\0garbage" * 9999, b"x" * 9000, b"/etc/passwd", b""):
        latest.write_bytes(content)
        done = petclassify("predict", photo)
        assert done.code == 0, done.err
        assert str(SHIPPED) in done.err
    latest.unlink()
    latest.symlink_to("nowhere")
    assert petclassify("predict", photo).code == 0


def test_a_name_that_cannot_be_is_that_photos_error(petclassify: Run, photo: Path) -> None:
    done = petclassify("predict", "x" * 300, photo, "--model", SHIPPED)
    assert done.code == ExitCode.SOME_IMAGES_FAILED
    assert "1 of 2 images failed" in done.err


def test_a_run_folder_is_not_walked_for_photos(petclassify: Run, drawn_run: Path) -> None:
    done = petclassify("predict", drawn_run, "--model", SHIPPED)
    assert done.code == ExitCode.SOME_IMAGES_FAILED
    assert "a run folder, not photos: give it with --model" in done.out
    assert "curves.png" not in done.out


def test_a_misspelt_photo_is_answered_with_what_lies_beside(
    petclassify: Run, tmp_path: Path, make_photos
) -> None:
    (photo, *_) = make_photos(tmp_path / "photos", 1)
    wrong = photo.with_name("00.png")
    done = petclassify("predict", wrong, "--model", SHIPPED)
    assert f"no such file; did you mean {photo}?" in done.out
    assert (
        petclassify("predict", tmp_path / "photo", "--model", SHIPPED)
        .out.rstrip()
        .endswith(f"did you mean {tmp_path / 'photos'}?")
    )


@pytest.mark.parametrize("name", ["", "a\0b", "\udcff", "x/" * 3000, "."])
def test_a_name_that_cannot_be_is_one_row_or_one_line(petclassify: Run, name: str) -> None:
    done = petclassify("predict", name, "--model", SHIPPED)
    assert done.code in (ExitCode.SOME_IMAGES_FAILED, ExitCode.DATA)
    assert "Traceback" not in done.err
    assert "bug" not in done.err


def test_a_folder_of_photos_that_are_not_read_says_so_once(
    petclassify: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.HEIC").write_bytes(b"x")
    done = petclassify("predict", tmp_path, "--model", SHIPPED)
    assert done.code == ExitCode.DATA
    assert "holds no images, but 1 .heic file(s), which are not read" in done.err
    assert not caplog.messages


@pytest.mark.parametrize(("name", "meant"), [("rows.json", ".jsonl"), ("rows.XLSX", ".csv")])
def test_no_table_is_written_into_a_file_of_another_kind(
    petclassify: Run, tmp_path: Path, photo: Path, name: str, meant: str
) -> None:
    output = tmp_path / name
    done = petclassify("predict", photo, "--model", SHIPPED, "--output", output)
    assert (done.code, done.err.count("\n")) == (ExitCode.USAGE, 1)
    assert f"is not written. Name it {meant}, or say by --format" in done.err
    assert not output.exists()
    asked = ("--format", "jsonl", "--output", output)
    assert petclassify("predict", photo, "--model", SHIPPED, *asked).code == 0
    assert rows(output.read_text())


def test_labels_of_the_table_stand_in_one_column(
    petclassify: Run, tmp_path: Path, photo: Path
) -> None:
    out = petclassify("predict", photo, tmp_path / "zzz.jpg", "--model", SHIPPED).out
    assert len({line.index("/") for line in out.splitlines()}) == 1


def test_rows_before_a_folder_that_is_refused_are_not_lost(
    petclassify: Run, make_photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    photos = make_photos(tmp_path / "photos", 3)
    (tmp_path / "empty").mkdir()
    done = petclassify(
        "predict", *photos, tmp_path / "empty", "--model", SHIPPED, "--format", "jsonl"
    )
    assert done.code == ExitCode.DATA
    assert [json.loads(row)["path"] for row in done.out.splitlines()] == [str(p) for p in photos]
