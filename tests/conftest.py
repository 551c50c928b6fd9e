"""What many tests need: real photos where they are, drawn ones everywhere, one trained run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from petclassify.images.drawn_pets import draw_pets
from tests import reliability

REPOSITORY = Path(__file__).parents[1]
REAL_PHOTOS = REPOSITORY.parent / "shared" / "data" / "catsdogs"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", type=Path, metavar="FILE", help="write what was tried here")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(reliability)
    page = config.getoption("reliability")
    if page is not None and not hasattr(config, "workerinput"):  # a worker of pytest-xdist
        config.pluginmanager.register(reliability.Page(page.resolve(), config.option.markexpr))


@pytest.fixture(scope="session")
def catsdogs() -> Path:
    """The real photos, train/ and test/."""
    if not REAL_PHOTOS.is_dir():
        pytest.skip("needs the real photos in ../shared/data, which are not here")
    return REAL_PHOTOS


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The chromium of this machine, driven by playwright."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium, which is not here")
    expect.set_options(timeout=30_000)  # tests share the cores
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def drawn_pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 drawn pets, DIR/<class>/."""
    folder = tmp_path_factory.mktemp("drawn") / "pets"
    draw_pets(folder, count=60, seed=0)
    return folder


@pytest.fixture(scope="session")
def feature_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests that may share features."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def drawn_run(
    tmp_path_factory: pytest.TempPathFactory, drawn_pets: Path, feature_cache: Path
) -> Path:
    """The run folder of a training on the drawn pets. Read it only."""
    from petclassify.config import TrainConfig
    from petclassify.learn.preflight import check_request
    from petclassify.learn.train import train

    out = tmp_path_factory.mktemp("run") / "run"
    config = TrainConfig(drawn_pets, out=out, cache=feature_cache)
    return train(config, check_request(config)).run


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str


@pytest.fixture
def petclassify(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run the command line in this process, in an empty folder."""
    import gc
    import signal

    from petclassify.__main__ import main

    workplace = tmp_path / "workplace"
    workplace.mkdir()
    monkeypatch.chdir(workplace)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["petclassify", *map(str, arguments)])
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as exited:
                main()
        finally:
            gc.enable()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        captured = capsys.readouterr()
        return Outcome(int(exited.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def make_photos() -> Callable[..., list[Path]]:
    """Write small distinct pictures into a folder."""

    def make(folder: Path, count: int = 4, colour: int = 0) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{number:03}.png" for number in range(count)]
        for number, path in enumerate(paths):
            Image.new("RGB", (32, 32), (colour, number % 256, number // 256)).save(path)
        return paths

    return make


SMALL_DISK_BYTES = 256 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is soon full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"size={SMALL_DISK_BYTES}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a folder that a test wants to spoil."""

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / f"copy-of-{folder.name}"))

    return copy
