from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from petclassify.config import FitConfig, TrainConfig
from petclassify.errors import DataError, EnvironmentFault, UsageError
from petclassify.learn.claims import claimed
from petclassify.learn.preflight import check_request
from petclassify.learn.run_facts import asked
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.learn.runs.run_place import new_place, place_to_resume
from petclassify.learn.train import train

CONFIG = TrainConfig(Path("data"), "zoo/lenet5", "none", 32, fit=FitConfig("all", epochs=1))


def leave_refused_run(folder: Path) -> None:
    """What a run leaves whose data set is refused, or that is killed before it learns."""
    folder.mkdir(parents=True)
    RunFolder(folder).write_json("config.json", asked(CONFIG))
    RunFolder(folder).write_json("data.json", {"photos": {}})
    (folder / ".abcd_123.tmp").write_bytes(b"half")
    (folder / ".lock").touch()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("out", [None, Path("run")])
def test_what_a_refused_run_left_is_no_obstacle(here: Path, out: Path | None) -> None:
    place = out or Path("models/name")
    leave_refused_run(place)
    with new_place(out, "name") as path:
        assert path == place
        assert [entry.name for entry in path.iterdir()] == [".lock"]
    assert list(place.iterdir()) == []


def test_a_refused_data_set_does_not_bar_the_same_command(
    make_photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    cats = make_photos(tmp_path / "data" / "cats", 8)
    make_photos(tmp_path / "data" / "dogs", 8, colour=200)
    whole = cats[0].read_bytes()
    cats[0].write_bytes(b"")
    config = replace(CONFIG, data=tmp_path / "data", out=tmp_path / "run", cache=tmp_path / "cache")
    with pytest.raises(DataError, match="1 of 16 photos cannot be read"):
        train(config, check_request(config))
    assert (tmp_path / "run" / "data.json").exists()
    cats[0].write_bytes(whole)
    assert train(config, check_request(config)) is not None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "{}"),
        ("config.json", "[]"),
        ("data.json", "{}"),
        (".mine.tmp", ""),
        ("config.json/x", ""),
    ],
)
def test_a_folder_of_the_users_own_is_refused_untouched(
    here: Path, name: str, content: str
) -> None:
    path = here / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UsageError, match="not empty"), new_place(here / "mine", "name"):
        pass
    with (
        pytest.raises(UsageError, match=r"not a run folder|other options"),
        place_to_resume(here / "mine", "name", asked(CONFIG)),
    ):
        pass
    assert path.read_text() == content
    assert [p for p in (here / "mine").rglob("*") if p.is_file()] == [path]


def test_a_second_command_is_refused_while_the_first_is_at_work(here: Path) -> None:
    with new_place(here / "run", "name") as path:
        RunFolder(path).write_json("config.json", asked(CONFIG))
        half = path / ".abcd1234.tmp"
        half.write_bytes(b"being written")
        for second in (
            new_place(here / "run", "name"),
            place_to_resume(here / "run", "name", asked(CONFIG)),
        ):
            with pytest.raises(UsageError, match="another command is at work on this run"), second:
                pass
        assert half.exists()  # it is the first one's
    with place_to_resume(here / "run", "name", asked(CONFIG)) as path:
        assert [entry.name for entry in path.iterdir()] == [".lock"]  # nothing was learnt in it


def test_what_learnt_nothing_goes_on_with_other_options(here: Path) -> None:
    leave_refused_run(here / "run")
    with place_to_resume(here / "run", "name", asked(replace(CONFIG, max_bad=0.5))) as path:
        assert [entry.name for entry in path.iterdir()] == [".lock"]


def test_a_second_command_without_out_takes_the_next_number(here: Path) -> None:
    with new_place(None, "name") as first, new_place(None, "name") as second:
        assert (first, second) == (Path("models/name"), Path("models/name-2"))


def test_a_file_of_the_default_name_is_stepped_over(here: Path) -> None:
    Path("models").mkdir()
    Path("models/name").write_text("mine")
    with new_place(None, "name") as path:
        assert path == Path("models/name-2")


def test_a_killed_command_gives_its_run_up(here: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from petclassify.learn.claims import claimed\n"
        "with claimed(Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    lock = here / ".lock"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", script, str(lock)]
    subprocess.run(command, check=False, env=environment)
    assert lock.exists()
    with claimed(lock, "busy"):
        pass
    assert not lock.exists()


@pytest.mark.parametrize("out", [None, "run", "."])
def test_a_run_folder_inside_the_data_set_is_refused_before_anything_is_written(
    here: Path, make_photos: Callable[..., list[Path]], out: str | None
) -> None:
    for name in ("cats", "dogs"):
        make_photos(here / name, 4)
    config = replace(CONFIG, data=Path(), out=None if out is None else Path(out))
    with pytest.raises(UsageError, match="lies in the data set"):
        train(config, check_request(config))
    assert sorted(path.name for path in here.iterdir()) == ["cats", "dogs"]


def test_a_cache_inside_the_data_set_is_refused(
    here: Path, make_photos: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cats", "dogs"):
        make_photos(here / name, 4)
    with pytest.raises(UsageError, match="lies in the data set"):
        check_request(replace(CONFIG, data=Path(), cache=Path("cache")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    with pytest.raises(UsageError, match="Choose another --cache"):
        check_request(replace(CONFIG, data=Path()))


def test_a_folder_that_a_class_is_a_link_to_belongs_to_the_data_set(
    here: Path, make_photos: Callable[..., list[Path]]
) -> None:
    (here / "data").mkdir()
    for name in ("cats", "dogs"):
        make_photos(here / "disk" / name, 4)
        (here / "data" / name).symlink_to(here / "disk" / name)
    config = replace(CONFIG, data=Path("data"), cache=Path("disk/cache"))
    with pytest.raises(UsageError, match="disk/cats/run: lies in the data set"):
        train(replace(config, out=Path("disk/cats/run")), check_request(config))
    with pytest.raises(UsageError, match="disk/dogs: lies in the data set"):
        check_request(replace(config, cache=Path("disk/dogs")))
    assert not (here / "disk" / "cats" / "run").exists()


@pytest.mark.parametrize("option", ["out", "cache"])
def test_a_link_to_itself_is_one_line(
    here: Path, make_photos: Callable[..., list[Path]], option: str
) -> None:
    (here / "loop").symlink_to("loop")
    for name in ("cats", "dogs"):
        make_photos(here / "data" / name, 4)
    config = TrainConfig(Path("data"), image_size=32, out=Path("run"), cache=Path("cache"))
    config = replace(config, **{option: Path("loop")})
    with pytest.raises(EnvironmentFault, match=f"Choose another with --{option}"):
        train(config, check_request(config))
    assert asked(config)[option] == str(here / "loop")


def test_other_options_are_named_as_they_are_given(here: Path) -> None:
    leave_refused_run(here / "run")
    (here / "run" / "resume").mkdir()
    now = replace(CONFIG, data=Path("moved"), image_size=64)
    with (
        pytest.raises(
            UsageError,
            match=r"other options \(DATA was .+, is .+/moved; --image-size was 32, is 64\).+--out",
        ),
        place_to_resume(here / "run", "name", asked(now)),
    ):
        pass


def test_a_place_that_cannot_be_a_folder_is_one_line(here: Path) -> None:
    (here / "file").write_text("mine")
    for out in (here / "file", here / "file" / "run"):
        with (
            pytest.raises(EnvironmentFault, match="Choose another with --out"),
            new_place(out, "n"),
        ):
            pass


def test_a_damaged_configuration_is_not_gone_on_with(here: Path) -> None:
    leave_refused_run(here / "run")
    (here / "run" / "config.json").write_text(json.dumps(asked(CONFIG))[:-5])
    with (
        pytest.raises(UsageError, match="not a run folder"),
        place_to_resume(here / "run", "name", asked(CONFIG)),
    ):
        pass


def test_a_stopped_run_is_refused_with_the_way_to_go_on(here: Path) -> None:
    (here / "mine" / "resume").mkdir(parents=True)
    (here / "mine" / "config.json").write_text("{}")
    (here / "mine" / "resume" / "state.safetensors").write_text("whole")
    with pytest.raises(UsageError, match="Add --resume"), new_place(here / "mine", ""):
        pass
