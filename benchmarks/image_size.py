"""The size of the Docker image, without Docker: `python benchmarks/image_size.py`.

Its layers are those of the base image and the virtual environment that the Dockerfile copies.
That environment is made here, by the Dockerfile's own commands, and its files are counted.
The base image cannot be fetched where no engine runs; its size is the one that the official
images' maintainers publish (docker-library/repo-info, repos/python/local/3.12-slim.md,
2026-07-14, linux/amd64: all layers on disk; the same repository's remote/ has the 43.2 MB that
are transferred).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
BASE_MB = 119.2
LIMIT_MB = 400


def main() -> None:
    """Install into a scratch environment and add up."""
    with tempfile.TemporaryDirectory() as scratch:
        venv = Path(scratch) / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(venv), "install", "--quiet"]
        subprocess.run([*pip, "--no-cache-dir", f"{REPOSITORY}[serve]"], check=True)
        (packages,) = venv.glob("lib/python*/site-packages")
        sizes = {path.name: size_of(path) for path in packages.iterdir()}
        total = size_of(venv)
    for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
        print(f"{size / 1e6:8.1f} MB  {name}")
    print(f"{total / 1e6:8.1f} MB  the environment, the above and the rest")
    print(f"{BASE_MB:8.1f} MB  python:3.12-slim")
    print(f"{BASE_MB + total / 1e6:8.1f} MB  the image (limit: {LIMIT_MB} MB)")
    if BASE_MB + total / 1e6 > LIMIT_MB:
        sys.exit("over the limit")


def size_of(path: Path) -> int:
    """Bytes of all files below, links not followed."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(one.lstat().st_size for one in files if not one.is_dir() or one.is_symlink())


if __name__ == "__main__":
    main()
