"""Who is measured side by side: how each is installed, trained, and asked about photos.

The peers' scripts are in benchmarks/peers, one a peer, as its documentation teaches. They run in
a virtual environment of their own (`.venv-peers`), with the torch and timm that petclassify
runs with here. All but Ultralytics start from the same ImageNet weights, written once by
petclassify as a state dict by timm's names. Nobody may reach the network while measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from measuring import PETCLASSIFY

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "models" / "catsdogs.onnx"
SCRIPTS = Path(__file__).parent / "peers"
VENV = ROOT / ".venv-peers"
PYTHON = VENV / "bin" / "python"
SAME = [f"{name}=={version(name)}" for name in ("torch", "torchvision", "timm")]
REQUIRED = [*SAME, "fastai", "ultralytics"]
OURS = "petclassify"
FULL = "petclassify[train,openvino]"
TUNED = "petclassify --unfreeze last"

WRITE_WEIGHTS = """
import sys, torch
from petclassify.config import DEFAULT_BACKBONE
from petclassify.learn.backbones.weights import load_pretrained
torch.save(load_pretrained(DEFAULT_BACKBONE, "pretrained").state_dict(), sys.argv[1])
"""
VERSIONS = """
import json
from importlib.metadata import version
print(json.dumps({n: version(n) for n in ("torch", "timm", "fastai", "ultralytics")}))
"""


@dataclass(frozen=True)
class Peer:
    """One of the others: its script, the file that it exports, and what it needs to predict."""

    script: str
    model: str
    options: tuple[str, ...] = ()


PEERS = {
    "fastai": Peer("vision_learner.py", "learner.pkl"),
    "tutorial, all layers": Peer("tutorial.py", "model.pt"),
    "tutorial, frozen": Peer("tutorial.py", "model.pt", ("--frozen",)),
    "timm + torch": Peer("timm_loop.py", "state.pth"),
    "Ultralytics": Peer("yolo.py", "yolo11n-cls.pt"),
}
TRAINED = [OURS, TUNED, *(name for name in PEERS if name != "Ultralytics")]
PREDICTING = [OURS, *(name for name in PEERS if name != "tutorial, frozen")]

# What each needs on the disk of a machine that trains and predicts, from the package index.
INSTALLED = {
    OURS: [str(ROOT)],
    FULL: [f"{ROOT}[train,openvino]"],  # as `make setup` gives it, which is what is timed
    "fastai": [*SAME, "fastai"],
    "tutorial, all layers": SAME,  # as timm + torch, whose figure is the same one
    "Ultralytics": [*SAME[:2], "ultralytics"],
    # Smaller, where the index has it; the versions are the last that came in this form.
    "timm + torch, CPU build": ["torch==2.13.0+cpu", "torchvision==0.28.0", SAME[2]],
}


@dataclass(frozen=True)
class Bench:
    """Where things lie during a measurement, and the commands with their paths."""

    data: Path
    work: Path
    budget_s: float

    @property
    def weights(self) -> Path:
        """The state dict that all share."""
        return self.work / "weights.pth"

    @property
    def environment(self) -> dict[str, str]:
        """No network, and no files outside the work folder."""
        folder = str(self.work / "settings")
        return {
            "HF_HUB_OFFLINE": "1",
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_CONFIG_DIR": folder,
            "TORCH_HOME": folder,
            "FASTAI_HOME": folder,
        }

    def prepare(self) -> dict[str, str]:
        """Make the peers' environment and the weights, if they are not there; the versions."""
        self.work.mkdir(parents=True, exist_ok=True)
        (self.work / "settings").mkdir(exist_ok=True)
        installed = VENV / "installed"
        if not installed.exists() or installed.read_text().split() != REQUIRED:
            venv.create(VENV, clear=True, with_pip=True)
            install = [PYTHON, "-m", "pip", "install", "--quiet", "--no-cache-dir"]
            subprocess.run([*install, *REQUIRED], check=True)
            installed.write_text("\n".join(REQUIRED))
        if not self.weights.exists():
            partial = self.weights.with_suffix(".partial")
            subprocess.run([sys.executable, "-c", WRITE_WEIGHTS, partial], check=True)
            partial.rename(self.weights)
        done = subprocess.run([PYTHON, "-c", VERSIONS], capture_output=True, check=True)
        return json.loads(done.stdout)

    def train(self, system: str, out: Path) -> list[str | Path]:
        """To train from nothing, and to export."""
        if system in (OURS, TUNED):
            into = ("--cache", out / "cache", "--out", out / "run")
            return [*PETCLASSIFY, "train", self.data, *into, *system.split()[1:]]
        return [
            *self._script(system, "train", out / PEERS[system].model, self.data),
            *("--weights", self.weights, "--journal", out / "journal.json"),
            *("--budget", f"{self.budget_s:g}", *PEERS[system].options),
        ]

    def export_untrained(self, system: str, out: Path) -> list[str | Path]:
        """To export without training: what predicting costs does not depend on the weights."""
        train = self._script(system, "train", out / PEERS[system].model, self.data)
        return [*train, "--weights", self.weights, "--epochs", "0"]

    def predict(self, system: str, model: Path, photos: Path) -> list[str | Path]:
        """To say what is on a photo, or on those of a folder."""
        if system == OURS:
            return [*PETCLASSIFY, "predict", photos, "--model", model]
        return self._script(system, "predict", model, photos)

    def shown(self, command: list[str | Path]) -> str:
        """The command without this machine's paths."""
        line = " ".join(map(str, command))
        named = {
            " ".join(PETCLASSIFY): "petclassify",
            sys.executable: "python",
            str(PYTHON): ".venv-peers/bin/python",
            str(self.work): "WORK",
            str(self.data): "DATA",
            f"{ROOT}[": ".[",
            f"{ROOT}/": "",
            str(ROOT): ".",
        }
        for path, name in named.items():
            line = line.replace(path, name)
        return line

    def _script(self, system: str, *arguments: str | Path) -> list[str | Path]:
        return [PYTHON, SCRIPTS / PEERS[system].script, *arguments]
