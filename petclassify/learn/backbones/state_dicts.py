"""Files of weights, which anybody may have made: read as tensors by name, and nothing else."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from petclassify.errors import ModelError, first_line

StateDict = dict[str, Tensor]

OWN_PREFIX = "extractor.network."  # as in learn.network.Network
_OWN_METADATA = "petclassify"  # as learn.network.save_checkpoint names it


def backbone_of(path: Path) -> str | None:
    """Of which network a run's checkpoint says that it is; None of any other file."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            about = json.loads((opened.metadata() or {}).get(_OWN_METADATA, "null"))
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError):
        return None  # reading its tensors says what is wrong
    return str(about["backbone"]) if isinstance(about, dict) and "backbone" in about else None


def read_state_dict(path: Path) -> StateDict:
    """Read a timm network's tensors by name; of our own checkpoints, the backbone's.

    Raises:
        ModelError: the file is damaged, or holds anything but tensors by name.

    """
    return _of_backbone(read_tensors(path))


def read_tensors(path: Path) -> StateDict:
    """Read tensors by name from a .safetensors file, or from a .pth file without running it.

    Raises:
        ModelError: the file is damaged, or holds anything but tensors by name.

    """
    try:
        if path.suffix == ".safetensors":
            loaded = safetensors.torch.load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: refused: it holds pickled objects other than tensors, which could run "
            "code. Save its state dict as .safetensors"
        ) from error
    except (
        safetensors.SafetensorError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        AssertionError,
        struct.error,
    ) as error:
        # A lookup's error holds what was looked up: an opcode, as a number.
        said = "" if isinstance(error, LookupError) else f": {first_line(error)}"
        raise ModelError(f"{path}: damaged or not a weights file{said}") from error
    state = loaded.get("state_dict", loaded.get("model", loaded)) if isinstance(loaded, dict) else 0
    if not isinstance(state, Mapping) or not state:
        raise ModelError(f"{path}: refused: expected tensors by name (a state dict)")
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path}: refused: holds values that are not tensors")
    if any(value.is_complex() for value in state.values()):
        raise ModelError(f"{path}: refused: holds complex numbers, which no network here takes")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _of_backbone(state: StateDict) -> StateDict:
    """Of a checkpoint that petclassify wrote the backbone's tensors, by timm's names."""
    if not any(name.startswith(OWN_PREFIX) for name in state):
        return state
    return {
        name.removeprefix(OWN_PREFIX): value
        for name, value in state.items()
        if name.startswith(OWN_PREFIX)
    }


def digest_weights(module: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers, names included, in hex."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
