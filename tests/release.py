"""What a release must do: `make release` builds it, then runs this on the wheel.

    python tests/release.py dist/petclassify-0.1.0-py3-none-any.whl

The wheel is installed into a fresh environment once bare, and once with each extra, and does
there what that extra is for. It takes some minutes and gigabytes, of which none stay.
"""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
import venv
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PETS = ("data", "draw", "pets", "--count", "40")
# What `petclassify` is asked after an install with each extra.
CHECKS: dict[str, list[tuple[str, ...]]] = {
    "report": [PETS, ("evaluate", "pets")],
    "parquet": [PETS, ("predict", "pets", "--output", "rows.parquet")],
    "ray": [PETS, ("predict", "pets", "--engine", "ray", "--output", "rows.csv")],
    "serve": [],  # see `serves`
    "train": [("demo",)],
    "train,openvino": [("demo",)],
    "train,tensorboard": [
        PETS,
        ("train", "pets", "--unfreeze", "last", "--epochs", "1", "--tensorboard", "--out", "run"),
    ],
}


def check_metadata(wheel: Path) -> None:
    """Name, version and extras are those of the project's own files."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    source = (REPOSITORY / "petclassify" / "__init__.py").read_text()
    (version,) = re.findall(r'^__version__ = "(.+)"', source, flags=re.MULTILINE)
    with zipfile.ZipFile(wheel) as files:
        (name,) = (n for n in files.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(files.read(name))
        assert "petclassify/shipped/catsdogs.onnx" in files.namelist()
        assert "petclassify/py.typed" in files.namelist()
    assert (metadata["Name"], metadata["Version"]) == (project["name"], version)
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    changes = (REPOSITORY / "CHANGELOG.md").read_text()
    assert f"\n## {version}, 2" in changes, f"CHANGELOG.md has no dated section for {version}"


def install(folder: Path, wheel: Path, extra: str | None) -> Path:
    """Make a fresh environment with the wheel in it; returns its `bin`."""
    venv.create(folder, with_pip=True)
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", wanted], check=True
    )
    return folder / "bin"


def serves(command: Path, folder: Path) -> None:
    """The server answers its first question."""
    with subprocess.Popen(
        [command, "serve", "--port", "0"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            with urllib.request.urlopen(f"{address}/readyz", timeout=30) as answer:
                assert answer.status == 200
        finally:
            server.terminate()


def main() -> None:
    """Check the wheel that is named on the command line."""
    wheel = Path(sys.argv[1]).resolve()
    check_metadata(wheel)
    for extra in (None, *CHECKS):
        with tempfile.TemporaryDirectory() as scratch:
            start = time.perf_counter()
            binaries = install(Path(scratch) / "venv", wheel, extra)
            installed_s = time.perf_counter() - start
            work = Path(scratch) / "work"
            work.mkdir()
            if extra is None:
                subprocess.run(
                    [binaries / "python", REPOSITORY / "tests" / "base_install.py"],
                    cwd=REPOSITORY,
                    check=True,
                )
            elif extra == "serve":
                serves(binaries / "petclassify", work)
            else:
                for arguments in CHECKS[extra]:
                    subprocess.run([binaries / "petclassify", *arguments], cwd=work, check=True)
            print(f"petclassify[{extra or ''}]: installed in {installed_s:.0f} s, and works")


if __name__ == "__main__":
    main()
