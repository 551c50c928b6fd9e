"""What fine-tuning promises, measured: `python benchmarks/finetuning.py [parts]`.

throughput  the whole training loop, decoding and augmentation included, against the loop of
            the PyTorch transfer-learning tutorial, written anew here: fp32, its own
            transforms, all layers trained. In turn, medians.
bound       why not faster: a step of resnet18 without photos, what of it are convolutions, and
            how near those come to the fastest multiplication of matrices here, in bf16.
gain        `train --unfreeze last` against `train`, test log loss and seconds, three seeds.
transfer    resnet18 on 300 Fashion-MNIST pictures, from weights of this project's own making
            (a small stand-in: trained on five other classes) against random weights; both
            curves in benchmarks/transfer.png.
kills       a run killed at random moments and resumed, again and again: one result.

Prints the rows of a Markdown table, and writes benchmarks/finetuning.json.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import machine

PETCLASSIFY = [sys.executable, "-m", "petclassify"]
FASHION = Path("../shared/data/fashion-mnist").resolve()
Row = tuple[str, str, str]

# The tutorial's loop: prints photos per second after the first batch.
TUTORIAL = """
import sys, time, warnings
warnings.simplefilter("ignore")
import timm, torch
from torchvision import datasets, transforms
data, name, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
transform = transforms.Compose([
    transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
photos = datasets.ImageFolder(data, transform)
loader = torch.utils.data.DataLoader(photos, batch_size=4, shuffle=True, num_workers=4)
network = timm.create_model(name, num_classes=2).train()
criterion = torch.nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
seen, start = 0, None
for inputs, labels in loader:
    optimizer.zero_grad()
    outputs = network(inputs)
    _, predicted = torch.max(outputs, 1)
    loss = criterion(outputs, labels)
    loss.backward()
    optimizer.step()
    loss.item()
    if start is None:
        start = time.perf_counter()
        continue
    seen += len(labels)
    if seen >= limit:
        break
print(seen / (time.perf_counter() - start))
"""

# Our loop: the rate of a whole second epoch, as `train` logs it.
OURS = """
import logging, re, sys
from pathlib import Path
from petclassify.config import FitConfig, TrainConfig
from petclassify.learn.preflight import check_request
from petclassify.learn.train import train
data, name, unfreeze, weights, cache, out = sys.argv[1:]
rates = []
class Rates(logging.Handler):
    def emit(self, record):
        found = re.search(r"([0-9.]+) photos/s", record.getMessage())
        if found and record.getMessage().startswith("epoch"):
            rates.append(float(found[1]))
log = logging.getLogger("petclassify")
log.addHandler(Rates()); log.setLevel("INFO")
config = TrainConfig(Path(data), name, weights, out=Path(out), cache=Path(cache),
                     fit=FitConfig(unfreeze, epochs=2, patience=0))
train(config, check_request(config))
print(rates[-1])
"""


# A training step on pixels at hand: photos/s, the share of convolutions, and of the best rate.
BOUND = """
import json, time, timm, torch
from torch.profiler import profile
from petclassify.learn.tuning.folding import fold_norms
from petclassify.learn.tuning.memory import keep_freed_memory
keep_freed_memory()
network = fold_norms(timm.create_model("resnet18", num_classes=2).eval())
network = network.to(memory_format=torch.channels_last)
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
inputs = torch.randn(32, 3, 224, 224).contiguous(memory_format=torch.channels_last)
def step():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(inputs).float().logsumexp(1).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
def seconds(run, times):
    run()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return sorted(found)[times // 2]
step_s = seconds(step, 9)
with profile() as recorded:
    step()
spent = {one.key: one.self_cpu_time_total for one in recorded.key_averages()}
convolutions = spent["aten::mkldnn_convolution"] + spent["aten::convolution_backward"]
share = convolutions / sum(spent.values())
matrix = torch.randn(2048, 2048).bfloat16()
best = 2 * 2048**3 / seconds(lambda: matrix @ matrix, 20)
# Multiply-accumulates at 224 pixels: forward, for the weights, and for the inputs but the photo's.
all_layers, stem = 1.814e9, 118e6
done = 2 * 32 * (3 * all_layers - stem)
print(json.dumps([32 / step_s, share, done / (share * step_s) / best]))
"""


def subset(data: Path, folder: Path, per_class: int) -> Path:
    """Links to the first photos of each class of the training split."""
    chosen = folder / f"subset-{per_class}"
    for class_folder in sorted((data / "train").iterdir()):
        (chosen / "train" / class_folder.name).mkdir(parents=True)
        for photo in sorted(class_folder.iterdir())[:per_class]:
            (chosen / "train" / class_folder.name / photo.name).symlink_to(photo)
    return chosen


def last_number(command: list[Any]) -> float:
    """Run a program; the last line that it prints is a number."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout.split()[-1])


def bench_throughput(data: Path, folder: Path) -> list[Row]:
    """Both loops in turn, for both networks."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    weights = folder / "resnet18.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), weights)
    photos = subset(data, folder, 200)
    wanted = [
        ("resnet18", "all", weights, ">= 2.5"),
        ("tf_efficientnet_lite0", "last", "pretrained", ">= 4"),
    ]
    rows = []
    for name, unfreeze, source, bound in wanted:
        ratios, rates = [], []
        for number in range(3):
            theirs = last_number([sys.executable, "-c", TUTORIAL, photos / "train", name, 160])
            out = folder / f"throughput-{name}-{number}"
            options = [photos, name, unfreeze, source, folder / "cache", out]
            ours = last_number([sys.executable, "-c", OURS, *options])
            rates.append(ours)
            ratios.append(ours / theirs)
        what = f"`{name} --unfreeze {unfreeze}`"
        rows.append((f"{what}, training", f"{statistics.median(rates):.0f} photos/s", ""))
        rows.append((f"{what} / the tutorial's loop", f"{statistics.median(ratios):.2f}", bound))
    return rows


def bench_bound(_data: Path, _folder: Path) -> list[Row]:
    """The middle of three runs by their rate."""
    command = [sys.executable, "-c", BOUND]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        for _ in range(3)
    ]
    rate, share, of_best = sorted(runs)[1]
    return [
        ("`resnet18`, a step without photos", f"{rate:.0f} photos/s", ""),
        ("of it convolutions; their rate, of the best in bf16", f"{share:.0%}; {of_best:.0%}", ""),
    ]


def train(data: Path, out: Path, *options: object) -> tuple[dict[str, Any], float]:
    """Run `petclassify train`; returns metrics.json and the seconds of the whole process."""
    start = time.perf_counter()
    command = [*PETCLASSIFY, "train", data, "--out", out, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads((out / "metrics.json").read_text()), time.perf_counter() - start


def bench_gain(data: Path, folder: Path) -> list[Row]:
    """The same seeds with and without open layers; the first run pays for the features."""
    rows = []
    for seed in range(3):
        cache = ("--cache", folder / f"cache-gain-{seed}", "--seed", seed)
        tuned, seconds = train(data, folder / f"tuned-{seed}", "--unfreeze", "last", *cache)
        head, _ = train(data, folder / f"head-{seed}", *cache)
        losses = [metrics["test"]["log_loss"] for metrics in (tuned, head)]
        found = f"{losses[0]:.4f} against {losses[1]:.4f}, {seconds:.0f} s"
        rows.append((f"`--unfreeze last`, test log loss, seed {seed}", found, "less, <= 240 s"))
    return rows


def history(run: Path) -> list[dict[str, str]]:
    """The epochs of history.csv."""
    with (run / "history.csv").open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["epoch"]]


def write_fashion(folder: Path, classes: range, per_class: int) -> Path:
    """Class folders of Fashion-MNIST pictures, read from its own raw files."""
    import numpy as np
    from PIL import Image

    pictures = gzip.decompress((FASHION / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = np.frombuffer(
        gzip.decompress((FASHION / "train-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8
    )
    pixels = np.frombuffer(pictures, np.uint8).reshape(-1, 28, 28)
    for label in classes:
        (folder / f"class-{label}").mkdir(parents=True)
        for number in np.flatnonzero(labels == label)[:per_class]:
            Image.fromarray(pixels[number]).save(folder / f"class-{label}" / f"{number}.png")
    return folder


def bench_transfer(_data: Path, folder: Path) -> list[Row]:
    """Pretrain on five classes of Fashion-MNIST; both starts on few pictures of the others."""
    from matplotlib.figure import Figure

    if not FASHION.is_dir():
        return []
    many = write_fashion(folder / "many", range(5), 1000)
    few = write_fashion(folder / "few", range(5, 10), 60)
    options = ("--backbone", "resnet18", "--image-size", 32, "--unfreeze", "all")
    options += ("--patience", 0, "--augment", "none", "--hflip", 0.5)
    train(many, folder / "pretrained", *options, "--weights", "none", "--epochs", 4)
    curves = {}
    starts = {"stand-in": folder / "pretrained" / "checkpoint.safetensors", "none": "none"}
    for name, weights in starts.items():
        out = folder / f"transfer-{name}"
        cache = ("--cache", folder / "cache")
        train(few, out, *options, "--weights", weights, "--epochs", 10, *cache)
        curves[name] = [float(row["val_accuracy"]) for row in history(out)]
    target = 0.85
    epochs = {
        name: next((n for n, a in enumerate(curve, start=1) if a >= target), None)
        for name, curve in curves.items()
    }
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    labels = {
        "stand-in": "weights from five other classes (a stand-in)",
        "none": "random weights",
    }
    for name, curve in curves.items():
        axes.plot(range(1, 11), [100 * a for a in curve], "o-", label=labels[name])
    axes.axhline(100 * target, color="#7f7f7f", linestyle=":", label="target")
    axes.set(xlabel="epoch", ylabel="validation accuracy, %")
    axes.set_title("resnet18, all layers open, 300 Fashion-MNIST pictures of five classes")
    axes.legend(frameon=False)
    figure.savefig(Path(__file__).with_name("transfer.png"), dpi=120)
    found = f"{epochs['stand-in']} against {epochs['none'] or 'more than 10'}"
    return [(f"epochs to {target:.0%} from stand-in weights, from none", found, "fewer")]


def bench_kills(_data: Path, folder: Path) -> list[Row]:
    """Kill at random moments, resume until it ends; compare with an unbroken run."""
    pets = folder / "pets-kill"
    draw = ["data", "draw", pets, "--count", "60"]
    subprocess.run([*PETCLASSIFY, *map(str, draw)], check=True, capture_output=True)
    options = ["--image-size", "64", "--unfreeze", "gradual", "--epochs", "12", "--patience", "0"]
    options += ["--cache", str(folder / "cache-kill")]
    metrics, seconds = train(pets, folder / "unbroken", *options)
    expected = history(folder / "unbroken"), metrics["val"], metrics["test"]
    generator = random.Random(0)
    kills = same = runs = 0
    while kills < 20:
        runs += 1
        out = folder / f"killed-{runs}"
        command = [*PETCLASSIFY, "train", pets, "--out", out, *options]
        while True:
            process = subprocess.Popen(
                list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            try:
                process.wait(generator.uniform(0.2, 1.0) * seconds if kills < 20 else None)
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
            said = process.communicate()[1].decode()
            if process.returncode == 0:
                break
            if process.returncode > 0:
                sys.exit(said)
            command = [*PETCLASSIFY, "train", pets, "--out", out, *options, "--resume"]
        found = json.loads((out / "metrics.json").read_text())
        same += (history(out), found["val"], found["test"]) == expected
    return [(f"{kills} kills, {runs} runs: same history and figures", f"{same} of {runs}", "all")]


def main() -> None:
    """Run the parts asked for, all of them by default."""
    parts: dict[str, Callable[[Path, Path], list[Row]]] = {
        "throughput": bench_throughput,
        "bound": bench_bound,
        "gain": bench_gain,
        "transfer": bench_transfer,
        "kills": bench_kills,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *parts], help="default: all")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/catsdogs"))
    arguments = parser.parse_args()
    results: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.parts or parts:
            for row in parts[name](arguments.data.resolve(), Path(folder)):
                print(f"| {' | '.join(row)} |", flush=True)
                results.append(row)
    written = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "results": [dict(zip(("what", "found", "wanted"), row, strict=True)) for row in results],
    }
    if not arguments.parts:
        Path(__file__).with_suffix(".json").write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
