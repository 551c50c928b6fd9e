"""What others may send: every kind of odd file through every command, and spoilt ones by the score.

The whole corpus goes through a command at once, as a folder, as it comes to users.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from petclassify.config import Resize
from petclassify.errors import ExitCode, ImageError, ImageFault
from petclassify.images.check import check_files
from petclassify.images.index import Index, Sample
from petclassify.images.jpeg_limits import count_scans
from petclassify.images.photo import read_image, read_pixels, read_size
from petclassify.images.walk import is_image_name, walk_images
from petclassify.runtime.serve.service import Service
from tests.conftest import REPOSITORY, Outcome
from tests.images.hostile import (
    HOSTILE,
    SEEDS,
    encoded,
    many_scans,
    mutated,
    scene,
    tiff,
    with_other_tags,
)
from tests.reliability import Attacks
from tests.runtime.serve.conftest import Client, start_server  # noqa: F401  # a fixture

SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"
RESIZE = Resize(shorter_side=256, crop=224, interpolation="bicubic")
SECONDS_A_FILE = 5.0
FAULTS = {name: case.fault for name, case in HOSTILE.items() if case.fault}

PLAIN_TIFFS = {name for name in SEEDS if name.endswith(".tif")} - {"lab.tif"}  # that takes long

COUNTED = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it only counts
)

# Pillow warns of odd metadata, which the commands leave out.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.attack("Photos")]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every hostile file, in one folder, under names that the walk takes."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, case in HOSTILE.items():
        assert is_image_name(name)
        (folder / name).write_bytes(case.content)
    return folder


def outcome_of(source: Path | bytes) -> ImageFault | None:
    """Which fault a file is refused by; whatever is no ImageError escapes, and fails the test."""
    start = time.monotonic()
    fault = None
    try:
        read_pixels(source, RESIZE)
    except ImageError as error:
        fault = error.kind
    assert time.monotonic() - start < SECONDS_A_FILE
    return fault


def judge(attack: Attacks, under: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare what became of many files that were tried together, and count them."""
    lost = sum(found.get(name) != outcome for name, outcome in expected.items())
    attack.made(len(expected), lost, under)
    assert found == expected


@pytest.mark.parametrize("name", HOSTILE)
def test_each_hostile_file_is_read_or_refused_by_its_true_fault(
    corpus: Path, name: str, attack: Attacks
) -> None:
    for source in (HOSTILE[name].content, corpus / name):
        with attack(name, under="hostile, read"):
            assert outcome_of(source) == HOSTILE[name].fault


@pytest.mark.parametrize("name", SEEDS)
def test_spoilt_files_are_read_or_refused(name: str, attack: Attacks) -> None:
    for number in range(12):
        with attack(f"spoilt {name}", under="spoilt at random"):
            outcome_of(mutated(SEEDS[name], f"{name} {number}"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDS)
def test_a_thousand_spoilt_files_of_each_kind_are_read_or_refused(
    name: str, attack: Attacks
) -> None:
    for number in range(1000):
        with attack(f"spoilt {name}", under="spoilt at random"):
            outcome_of(mutated(SEEDS[name], f"{name} slow {number}"))


@pytest.mark.parametrize(
    "name", [name for name in SEEDS if name.endswith(".tif") and name != "lab.tif"]
)
def test_tiffs_whose_tags_have_another_type_or_count_are_read_or_refused(
    name: str, attack: Attacks
) -> None:
    for content in with_other_tags(SEEDS[name]):
        with attack(f"other tags, {name}", under="TIFFs with other tags"):
            outcome_of(content)


@settings(COUNTED, max_examples=150)
@given(
    name=st.sampled_from(sorted(SEEDS)),
    edits=st.lists(st.tuples(st.integers(0, 2**15), st.integers(0, 255)), max_size=40),
    tail=st.binary(max_size=30),
)
def test_any_bytes_over_a_good_file_are_read_or_refused(
    attack: Attacks, name: str, edits: list[tuple[int, int]], tail: bytes
) -> None:
    content = bytearray(SEEDS[name])
    for place, value in edits:
        content[place % len(content)] = value
    with attack(f"any bytes over {name}", under="any bytes"):
        outcome_of(bytes(content) + tail)


@settings(COUNTED, max_examples=50)
@given(
    start=st.sampled_from([content[:16] for content in SEEDS.values()]), rest=st.binary(max_size=99)
)
def test_any_bytes_behind_a_good_start_are_read_or_refused(
    attack: Attacks, start: bytes, rest: bytes
) -> None:
    with attack("any bytes", under="any bytes"):
        outcome_of(start + rest)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ImageError, match="no regular file") as caught:
            read_image(path)
        assert caught.value.kind == ImageFault.UNREADABLE


def test_what_the_system_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    for path, number in ((loop, errno.ELOOP), (tmp_path / ("x" * 300), errno.ENAMETOOLONG)):
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert caught.value.kind == ImageFault.UNREADABLE
        assert os.strerror(number).lower() in caught.value.reason


def test_webp_and_avif_have_a_lower_limit_that_the_error_names() -> None:
    for image_format in ("WEBP", "AVIF"):
        options = {"method": 0} if image_format == "WEBP" else {"speed": 10}
        content = encoded(Image.new("RGB", (5200, 4000)), image_format, **options)
        with pytest.raises(ImageError, match="5200 x 4000 pixels, more than the limit of 20 mega"):
            read_size(content)


def test_progressive_cmyk_has_a_lower_limit_that_the_error_names() -> None:
    content = encoded(Image.new("CMYK", (6800, 6800)), "JPEG", progressive=True)
    with pytest.raises(ImageError, match="6800 x 6800 pixels, more than the limit of 45 mega"):
        read_size(content)
    assert read_size(encoded(Image.new("CMYK", (6800, 6800)), "JPEG")) == (6800, 6800)


def test_scans_are_counted_but_not_in_thumbnails_comments_and_tails() -> None:
    progressive = encoded(scene(), "JPEG", progressive=True)
    assert count_scans(progressive) == 10
    assert count_scans(encoded(scene(), "JPEG", restart_marker_blocks=1)) == 1
    assert count_scans(encoded(scene(), "JPEG", comment=progressive) + progressive) == 1
    assert count_scans(many_scans(64, 200)) == 200
    assert count_scans(progressive[:700]) <= 10
    assert count_scans(b"") == 0


def test_a_progressive_photo_of_the_largest_size_has_scans_enough() -> None:
    content = many_scans(64, 40)
    assert outcome_of(content) is None


def test_a_huge_strip_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(ImageError, match=r"a strip or tile of 186 MiB .*the limit of 144 MiB"):
        read_image(tiff(7_000, 7_000, t258=(3, 8), t277=(3, 4), t338=(3, 2)))


def test_a_strip_may_be_the_less_the_more_is_packed_in_it(tmp_path: Path) -> None:
    path = tmp_path / "noise.tif"
    path.write_bytes(tiff(6_900, 6_900))
    with pytest.raises(ImageError, match="damaged"):  # 136 MiB: it was tried
        read_image(path)
    path.write_bytes(tiff(6_900, 6_900, t279=(4, 60 << 20)))
    os.truncate(path, 60 << 20)
    with pytest.raises(ImageError, match=r"of 136 MiB out of 60 MiB packed, .* limit of 130 MiB"):
        read_image(path)


def test_a_small_first_page_of_a_large_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    Image.new("RGB", (300, 200), "red").save(path, compression="tiff_lzw")
    os.truncate(path, 250 << 20)
    assert read_image(path).size == (300, 200)


def test_too_little_memory_is_the_photos_error(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (6000, 6000)).save(path)
    program = (
        "import resource, sys; from pathlib import Path; from PIL import Image\n"
        "from petclassify.errors import ImageError\n"
        "from petclassify.images.photo import read_image\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)\n"
        "try: read_image(Path(sys.argv[1]))\n"
        "except ImageError as error: print(error.kind, error.reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "too_large takes more memory than there is\n"


def test_predict_gives_each_hostile_file_its_row_and_nothing_else_on_stderr(
    corpus: Path, attack: Attacks
) -> None:
    command = [sys.executable, "-m", "petclassify", "predict", str(corpus), "--format", "jsonl"]
    done = subprocess.run(
        [*command, "--model", str(SHIPPED)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["path"]).name for row in rows] == sorted(HOSTILE)
    found = {Path(row["path"]).name: row.get("error", {}).get("kind") for row in rows}
    judge(attack, "hostile, predict", found, {name: case.fault for name, case in HOSTILE.items()})
    assert done.returncode == ExitCode.SOME_IMAGES_FAILED
    assert done.stderr.splitlines()[-1] == f"{len(FAULTS)} of {len(HOSTILE)} images failed"
    assert len(done.stderr.splitlines()) <= 2  # the model, and that


def test_the_data_check_lists_each_hostile_file_by_its_fault(corpus: Path, attack: Attacks) -> None:
    samples = tuple(Sample(path, 0) for path in walk_images(corpus))
    checked = check_files(Index(corpus, ("odd",), {"train": samples}, flat=True), window=224)
    found = {one.name: one.kind for one in checked.unreadable}
    judge(attack, "hostile, data check", found, FAULTS)
    assert {photo.name for photo in checked.photos} == set(HOSTILE) - set(FAULTS)


@pytest.fixture
def spoilt_set(corpus: Path, drawn_pets: Path, copied: Callable[[Path], Path]) -> Path:
    """The drawn pets, with every file that must be refused among the cats."""
    data = copied(drawn_pets)
    for name in FAULTS:
        (data / "cats" / name).symlink_to(corpus / name)
    return data


@pytest.mark.slow
def test_the_check_command_lists_each_hostile_file_by_its_fault(
    petclassify: Callable[..., Outcome], spoilt_set: Path, feature_cache: Path, attack: Attacks
) -> None:
    done = petclassify(
        *("data", "check", spoilt_set, "--cache", feature_cache, "--out", "found"),
    )
    assert done.code == ExitCode.DONE, done.err
    assert "Traceback" not in done.err
    listed = json.loads(Path("found/check.json").read_text())["findings"]["unreadable"]
    found = {Path(one["name"]).name: one["kind"] for one in listed}
    judge(attack, "hostile, data check", found, FAULTS)


def test_train_leaves_each_hostile_file_out_and_lists_it(
    petclassify: Callable[..., Outcome], spoilt_set: Path, feature_cache: Path, attack: Attacks
) -> None:
    done = petclassify(
        *("train", spoilt_set, "--cache", feature_cache, "--out", "run", "--max-bad", "0.9")
    )
    assert done.code == ExitCode.DONE, done.err
    assert "Traceback" not in done.err
    listed = json.loads(Path("run/data.json").read_text())["unreadable"]
    found = {Path(one["path"]).name: "listed" for one in listed}
    judge(attack, "hostile, train", found, dict.fromkeys(FAULTS, "listed"))


def test_the_server_answers_each_hostile_file_and_lives(
    start_server: Callable[[Service], Client],  # noqa: F811
    attack: Attacks,
) -> None:
    client = start_server(Service(SHIPPED))
    for name, case in HOSTILE.items():
        with attack(name, under="hostile, server"):
            answer = client.ask("/predict", case.content)
            if case.fault is None:
                assert answer.status == 200, name
                assert answer.json["label"] in ("cats", "dogs")
            else:
                assert answer.status in (400, 413, 415, 422), name
                assert answer.json["error"]["kind"] == case.fault, name
    assert client.ask("/livez").status == 200
