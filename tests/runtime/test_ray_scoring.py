"""On a Ray of its own, here, as `--engine ray` starts it; two workers where two cores are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from petclassify.errors import ExitCode
from petclassify.runtime.object_store import StoredObject, list_objects
from petclassify.runtime.photos import signature_of
from tests.conftest import REPOSITORY, Outcome

Run = Callable[..., Outcome]
Make = Callable[..., list[Path]]
SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"


def predict(*arguments: str | Path, cwd: Path, **environment: str) -> Outcome:
    """A process of its own: Ray leaves threads and handlers behind."""
    done = subprocess.run(
        [sys.executable, "-m", "petclassify", "predict", "--model", SHIPPED, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow  # each Ray takes ten seconds to start
def test_ray_gives_the_rows_of_the_local_engine(tmp_path: Path, make_photos: Make) -> None:
    photos = make_photos(tmp_path / "photos" / "more", 40)
    photos[7].write_bytes(b"")
    (tmp_path / "photos" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    broken = os.path.join(os.fsencode(tmp_path / "photos"), b"broken\n\xff.png")  # noqa: PTH118
    shutil.copy(photos[1], broken)
    uri = (tmp_path / "photos" / "more").as_uri()
    by_ray = predict("photos", "none.jpg", "--engine", "ray", "--output", "ray.csv", cwd=tmp_path)
    locally = predict("photos", "none.jpg", "--output", "local.csv", cwd=tmp_path)
    assert by_ray.err.replace("ray.csv", "local.csv") == locally.err
    assert by_ray.err == "43 rows  ray.csv\n3 of 43 images failed\n"
    assert by_ray.code == ExitCode.SOME_IMAGES_FAILED
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
    assert not list(tmp_path.glob("*.part*"))
    stored = predict(uri, "--engine", "ray", "--format", "jsonl", cwd=tmp_path)
    from_store = [json.loads(line) for line in stored.out.splitlines()]
    beside = predict("photos/more", "--format", "jsonl", cwd=tmp_path)
    from_disk = [json.loads(line) for line in beside.out.splitlines()]
    assert [row.pop("path") for row in from_store] == [f"{uri}/{path.name}" for path in photos]
    assert [row.pop("path") for row in from_disk] == [f"photos/more/{p.name}" for p in photos]
    assert from_store == from_disk


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.slow)])
@pytest.mark.attack("Surroundings")
def test_no_code_of_the_working_folder_runs(tmp_path: Path, make_photos: Make, engine: str) -> None:
    """As it is started by its console script, whose own folder is not the working folder."""
    make_photos(tmp_path / "work" / "photos", 4)
    for name in ("numpy", "pandas", "pyarrow", "PIL", "onnxruntime", "random"):
        (tmp_path / "work" / f"{name}.py").write_text("open('ran', 'w')")
    script = tmp_path / "script.py"
    script.write_text("from petclassify.__main__ import main\nmain()\n")
    command = [sys.executable, script, "predict", "photos", "--model", SHIPPED, "--engine", engine]
    done = subprocess.run(
        [*command, "--output", "rows.csv"],
        cwd=tmp_path / "work",
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "work" / "ran").exists()
    assert (tmp_path / "work" / "rows.csv").read_text().count("\n") == 5


def test_a_cluster_that_is_not_there_is_one_line_at_once(tmp_path: Path, make_photos: Make) -> None:
    (photo,) = make_photos(tmp_path / "photos", 1)
    arguments = (photo, "--engine", "ray", "--output", tmp_path / "rows.csv")
    done = predict(*arguments, cwd=tmp_path, RAY_ADDRESS="127.0.0.1:1")
    assert done.code == ExitCode.ENVIRONMENT
    assert done.err.count("\n") == 1, done.err
    assert "127.0.0.1:1" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_store_is_listed_as_a_folder_is_walked(tmp_path: Path, make_photos: Make) -> None:
    photos = make_photos(tmp_path / "b", 2) + make_photos(tmp_path / "b-c", 1)
    for hidden in ("b/.x.png", "b/notes.txt", ".cache/x.png", "__MACOSX/x.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"x")
    found = dict(list_objects(tmp_path.as_uri()))
    assert list(found) == [path.as_uri() for path in photos]
    first = found[photos[0].as_uri()]
    assert isinstance(first, StoredObject)
    assert first.read() == photos[0].read_bytes()
    assert signature_of(first) == signature_of(photos[0])
