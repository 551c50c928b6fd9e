"""Every message of docs/troubleshooting.md, brought about and compared."""

from __future__ import annotations

import pickle
import re
import shlex
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from huggingface_hub import constants
from onnx import helper
from PIL import Image

from petclassify.config import Resize
from petclassify.errors import ExitCode
from petclassify.learn.export.standalone import to_standalone
from petclassify.runtime.serve.intake import MAX_BODY_BYTES
from petclassify.runtime.serve.openapi import describe_api
from tests.conftest import REPOSITORY, SMALL_DISK_BYTES, Outcome
from tests.pages import DOCS, Shown, require_printed, shown_commands

PAGE = DOCS / "troubleshooting.md"
SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"
SHOWN = shown_commands(PAGE)

Prepare = Callable[[pytest.FixtureRequest, pytest.MonkeyPatch, ExitStack], None]
SITUATIONS: dict[str, tuple[ExitCode, Prepare]] = {}


def situation(title: str, code: ExitCode) -> Callable[[Prepare], Prepare]:
    """Name what brings the message under a heading about, in the working folder."""

    def keep(prepare: Prepare) -> Prepare:
        SITUATIONS[title] = code, prepare
        return prepare

    return keep


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.section)
def test_each_message_is_what_its_situation_brings(
    petclassify: Callable[..., Outcome],
    drawn_pets: Path,
    feature_cache: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    shown: Shown,
) -> None:
    assert shown.section in SITUATIONS, f"no situation is prepared for {shown.section!r}"
    code, prepare = SITUATIONS[shown.section]
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: feature_cache)
    shutil.copytree(drawn_pets, "data/pets")
    shutil.copy(min((drawn_pets / "cats").iterdir()), "img.jpg")
    Path("models").mkdir()
    shutil.copy(SHIPPED, "models")
    with ExitStack() as until_then:
        prepare(request, monkeypatch, until_then)
        done = petclassify(*shlex.split(shown.command)[1:])
    assert done.code == code, done.err
    printed = f"{done.out}\n{done.err}".replace(f"{tmp_path}/", "")
    require_printed(shown, printed.splitlines())


def test_every_situation_has_its_heading() -> None:
    assert {shown.section for shown in SHOWN} == set(SITUATIONS)


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE.read_text(), flags=re.MULTILINE)
    assert {(int(code), name) for code, name in rows} == {(c.value, c.name) for c in ExitCode}


def test_the_servers_answers_are_those_of_its_description() -> None:
    rows = re.findall(r"^\| ([45]\d\d) \|", PAGE.read_text(), flags=re.MULTILINE)
    answers = describe_api("model")["paths"]["/predict"]["post"]["responses"]
    assert set(rows) == set(answers) - {"200"}
    assert f"over {MAX_BODY_BYTES // 2**20} MiB" in PAGE.read_text()


@situation("The folder is not there", ExitCode.DATA)
@situation("Photos, but no class folders", ExitCode.DATA)
@situation("No such model", ExitCode.MODEL)
@situation("Not a run folder", ExitCode.MODEL)
@situation("Random weights, frozen", ExitCode.USAGE)
@situation("The data set would be written into", ExitCode.USAGE)
def nothing_more(*_: object) -> None:
    """What lies in every test's folder is enough."""


@situation("One level too high", ExitCode.DATA)
def years(*_: object) -> None:
    for year in ("2023", "2024"):
        shutil.copytree("data/pets", f"data/years/{year}")


@situation("One class", ExitCode.DATA)
def one_class(*_: object) -> None:
    shutil.copytree("data/pets/cats", "data/one/cats")


@situation("An empty class", ExitCode.DATA)
def empty_class(*_: object) -> None:
    shutil.copytree("data/pets", "data/gap")
    Path("data/gap/birds").mkdir()


@situation("Too few photos", ExitCode.DATA)
def few_photos(*_: object) -> None:
    for folder in Path("data/pets").iterdir():
        Path("data/few", folder.name).mkdir(parents=True)
        for photo in sorted(folder.iterdir())[:2]:
            shutil.copy(photo, Path("data/few", folder.name))


@situation("Photos that cannot be read", ExitCode.DATA)
def spoilt_photo(*_: object) -> None:
    shutil.copytree("data/pets", "data/spoilt")
    Path("data/spoilt/cats/empty.jpg").touch()


@situation("Other classes than the model's", ExitCode.DATA)
def fruit(*_: object) -> None:
    shutil.copytree("data/pets/cats", "data/fruit/apples")
    shutil.copytree("data/pets/dogs", "data/fruit/pears")


@situation("Not an image", ExitCode.SOME_IMAGES_FAILED)
def notes(*_: object) -> None:
    Path("notes.jpg").write_text("milk, eggs")


@situation("A damaged one", ExitCode.SOME_IMAGES_FAILED)
def half_a_photo(*_: object) -> None:
    whole = Path("img.jpg").read_bytes()
    Path("half.jpg").write_bytes(whole[: len(whole) // 2])


@situation("Too large", ExitCode.SOME_IMAGES_FAILED)
def large_photo(*_: object) -> None:
    Image.new("RGB", (5200, 4000)).save("large.webp", method=0)


@situation("Unknown, for everything", ExitCode.DONE)
def other_pictures(*_: object) -> None:
    noise = np.random.default_rng(0)
    Path("other").mkdir()
    for number in range(2):
        pixels = noise.integers(0, 256, (240, 320, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"other/{number:03}.png")


@situation("Not one of ours", ExitCode.MODEL)
def foreign_model(*_: object) -> None:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    same = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    onnx.save(helper.make_model(helper.make_graph([node], "g", [value], [same])), "foreign.onnx")


@situation("A standalone file", ExitCode.MODEL)
def standalone_model(*_: object) -> None:
    onnx.save(
        to_standalone(onnx.load(SHIPPED), Resize(256, 224, "bicubic")), "model.standalone.onnx"
    )


@situation("Weights in a pickle", ExitCode.MODEL)
def pickled_weights(*_: object) -> None:
    Path("weights.pth").write_bytes(pickle.dumps({"network": Path("weights.pth")}))


@situation("The hub cannot be reached", ExitCode.ENVIRONMENT)
def no_hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _: ExitStack) -> None:
    empty = request.getfixturevalue("tmp_path") / "hub"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(empty))
    monkeypatch.setenv("TORCH_HOME", str(empty))


@situation("A missing extra", ExitCode.ENVIRONMENT)
def missing_extra(_: object, monkeypatch: pytest.MonkeyPatch, __: object) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)


@situation("The port is taken", ExitCode.ENVIRONMENT)
def taken_port(_: object, __: object, until_then: ExitStack) -> None:
    try:
        until_then.enter_context(socket.create_server(("127.0.0.1", 8000)))
    except OSError:
        return  # somebody else's server will do


@situation("The disk is full", ExitCode.ENVIRONMENT)
def full_disk(request: pytest.FixtureRequest, *_: object) -> None:
    disk: Path = request.getfixturevalue("small_disk")
    (disk / "filler").write_bytes(bytes(SMALL_DISK_BYTES - 2 * 4096))
    Path("disk").symlink_to(disk)
