"""Side by side with the peers: `python benchmarks/peers.py`, on ../shared/data/catsdogs.

train    to a trained and exported model, and its accuracy on the test photos. A peer's seconds
         are without judging the test photos, which it does after each epoch and stops at 99 %
         or when the next epoch would pass the budget, in which fastai's `fine_tune(1)` ends, and
         which is more than ten times what ours needs; ours are those of the whole command, which
         judges them too.
predict  one photo, the whole process: wall time, and peak memory.
folder   all test photos, the whole process.
install  a fresh virtual environment from the package index, without pip's cache: seconds, and
         what lies in site-packages afterwards. Deployed is that and the model file.
limit    decoding only, and the network only (see limit.py), before each training of ours.

All take turns, round by round, and what is shown are medians. Every result goes to
benchmarks/NAME.json at once, with the tree of petclassify that it was measured on; the same
command goes on where it was stopped, on the same photos, versions and machine, and tries again
what failed. Writes benchmarks/NAME.md and benchmarks/NAME.png; another machine, another name.
A round of trainings takes about half an hour on two cores; the installs need 15 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measuring import CommandFailed, Kept, end_with_children, machine, run
from peers_page import Results, table_rows, write_page
from peers_picture import draw
from systems import (
    INSTALLED,
    OURS,
    PEERS,
    PREDICTING,
    ROOT,
    SHIPPED,
    TRAINED,
    TUNED,
    Bench,
)

import petclassify

HERE = Path(__file__).parent
ROUNDS = {"train": 3, "predict": 5, "folder": 3, "install": 1}
Found = dict[str, Any]


def measure_train(bench: Bench, system: str, _number: int) -> Found:
    """Train from nothing in a folder of its own; the model is kept no longer than that."""
    if system == "limit":
        return measure_limit(bench)
    out = bench.work / "training"
    command = bench.train(system, out)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    process = run(command, bench.work, bench.environment, limit_s=3 * bench.budget_s + 300)
    if system in (OURS, TUNED):
        test = json.loads((out / "run" / "metrics.json").read_text())["test"]
        point = {name: test[name] for name in ("accuracy", "log_loss")}
        curve = {"points": [{"seconds": process.seconds, **point}], "exported_s": process.seconds}
    else:
        curve = json.loads((out / "journal.json").read_text())
    shutil.rmtree(out)
    return {**curve, "wall_s": process.seconds, "peak_mib": process.peak_mib} | {
        "command": bench.shown(command)
    }


def measure_limit(bench: Bench) -> Found:
    """In a process of its own."""
    command = [sys.executable, Path(__file__).with_name("limit.py"), bench.data]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        raise CommandFailed(done.stderr)
    return {**json.loads(done.stdout.splitlines()[-1]), "command": bench.shown(command)}


def measure_predict(bench: Bench, system: str, number: int) -> Found:
    """One photo, another in each round."""
    photos = sorted((bench.data / "test").glob("*/*.jpg"))
    return predict(bench, system, photos[number % len(photos)])


def measure_folder(bench: Bench, system: str, _number: int) -> Found:
    """All test photos."""
    return predict(bench, system, bench.data / "test")


def predict(bench: Bench, system: str, photos: Path) -> Found:
    """Predict with the shipped model, or with what the peer exports."""
    model = SHIPPED
    if system != OURS:
        out = bench.work / "models" / system.replace(" ", "-").replace(",", "")
        model = out / PEERS[system].model
        if not (out / "done").exists():
            out.mkdir(parents=True, exist_ok=True)
            run(bench.export_untrained(system, out), bench.work, bench.environment)
            (out / "done").touch()
    command = bench.predict(system, model, photos)
    run(command, bench.work, bench.environment)  # bytecode and the disk's cache are warm
    process = run(command, bench.work, bench.environment)
    count = len(list(photos.glob("*/*.jpg"))) or 1
    return {
        "seconds": process.seconds,
        "peak_mib": process.peak_mib,
        "per_second": count / process.seconds,
        "model_mib": model.stat().st_size / 2**20,
        "command": bench.shown(command),
    }


def measure_install(bench: Bench, system: str, _number: int) -> Found:
    """Install into a fresh environment, weigh it, and take it away."""
    with tempfile.TemporaryDirectory(dir=bench.work) as name:
        venv.create(name, with_pip=True)
        python = Path(name) / "bin" / "python"
        (site,) = Path(name).glob("lib/python*/site-packages")
        before = disk_mib(site)
        command = [python, "-m", "pip", "install", "--no-cache-dir", *INSTALLED[system]]
        process = run(command, bench.work)
        found = {"seconds": process.seconds, "mib": disk_mib(site) - before}
        return {**found, "command": bench.shown(["python", *command[1:]])}


def disk_mib(folder: Path) -> float:
    """What the files of a folder take on the disk."""
    blocks = sum(path.lstat().st_blocks for path in folder.rglob("*"))
    return blocks * 512 / 2**20


PARTS: dict[str, tuple[list[str], Callable[[Bench, str, int], Found]]] = {
    "predict": (PREDICTING, measure_predict),
    "folder": (PREDICTING, measure_folder),
    "install": (list(INSTALLED), measure_install),
    "train": (["limit", *TRAINED], measure_train),
}


def main() -> None:
    """Measure what is not measured yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/catsdogs"))
    parser.add_argument("--only", choices=list(PARTS), action="append")
    parser.add_argument("--systems", nargs="*", help="Default: all of the part.")
    parser.add_argument("--rounds", type=int, help=f"Default: {ROUNDS}.")
    parser.add_argument("--budget", type=float, default=500.0, help="Seconds of a peer's training.")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "peers")
    parser.add_argument("--page", action="store_true", help="Measure nothing, write the page.")
    parser.add_argument("--name", default="peers", help="Of the page and of what lies beside it.")
    given = parser.parse_args()
    end_with_children()
    page = HERE / f"{given.name}.md"
    raw = page.with_suffix(".json")
    bench = Bench(given.data.resolve(), given.work.resolve(), given.budget)
    if given.page:
        show(Results(json.loads(raw.read_text())), page)
        return
    kept = Kept(raw, about(bench))
    for part in given.only or PARTS:
        systems, measure = PARTS[part]
        for number in range(given.rounds or ROUNDS[part]):
            for system in systems:
                if not given.systems or system in given.systems:
                    key = [part, system, number]
                    kept.measure(key, partial(measure_on_tree, measure, bench, system, number))
    show(Results(kept.content), page)


def show(results: Results, page: Path) -> None:
    """Write the page and the picture, and print the page."""
    draw(results, table_rows(results), page.with_suffix(".png"))
    print(write_page(results, page))


def measure_on_tree(
    measure: Callable[[Bench, str, int], Found], bench: Bench, system: str, number: int
) -> Found:
    """Measure, and say on which state of petclassify."""
    return {**measure(bench, system, number), "tree": tree()}


def about(bench: Bench) -> dict[str, Any]:
    """What results must share to stand in one table."""
    return {
        "photos": len(list(bench.data.glob("*/*/*"))),
        "test_photos": len(list(bench.data.glob("test/*/*"))),
        "versions": bench.prepare() | ours() | {"python": platform.python_version()},
        "machine": machine(),
    }


def ours() -> dict[str, str]:
    """The versions of petclassify, and of the engines that it may run on."""
    engines = {name: version(name) for name in ("onnxruntime", "openvino")}
    return {"petclassify": petclassify.__version__, **engines}


def tree() -> str:
    """Git's name of the package as it was committed last."""
    command = ["git", "-C", ROOT, "rev-parse", "--short", "HEAD:petclassify"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
