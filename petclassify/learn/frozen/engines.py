"""The engines that can run a frozen backbone here, and the choice among them by a race.

Which engine is fastest depends on the processor and the network: OpenVINO in bf16 wins
where the processor has bf16, ONNX Runtime in fp32 mostly wins elsewhere, torch under bf16
autocast wins for plain convolutions. So they are timed on the first photos. An engine
whose features leave those of torch in fp32 is out, however fast: bf16 keeps a cosine of
0.996 and costs no accuracy, plain 8-bit quantisation falls to 0.92 and does. Out is also one that
fails here, as OpenVINO does in containers whose processors it cannot count.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import torch
from torch import nn

from petclassify.arrays import Features, Pixels
from petclassify.errors import ModelError, UselessFeaturesError, first_line
from petclassify.learn.memory_layout import laid_out_module
from petclassify.learn.onnx_graph import to_onnx
from petclassify.runtime.model_file import INPUT

log = logging.getLogger(__name__)

Forward = Callable[[Pixels], Features]

ENGINE_PACKAGES = ("timm", "torch", "onnxruntime", "openvino")  # that decide what features come out
MIN_COSINE = 0.99
RACE_PHOTOS = 8
_LARGEST = 1e12  # of a feature: squares of it are summed in float32, over photos too
_PROCESSORS = (Path("/proc/cpuinfo"), Path("/sys/devices/system/cpu/possible"))  # of Linux


@dataclass(frozen=True)
class Engine:
    """A frozen module on one engine: uint8 (N, height, width, 3) -> float32 (N, ...)."""

    name: str
    run: Forward
    images_per_second: float


def fastest_engine(module: nn.Module, pixels: Pixels, prefer: str | None = None) -> Engine:
    """Time every engine on real photos and take the fastest whose features are right.

    Args:
        module: in eval mode, from uint8 (N, height, width, 3) to one tensor.
        pixels: (N, height, width, 3), the photos to race on; the first 8 are used.
        prefer: the name of an engine chosen before, which is taken unraced if it is here.

    Raises:
        UselessFeaturesError: the weights give features that are not finite, or nothing but zeros.
        ModelError: the module cannot be exported.

    """
    builders = _builders(module, pixels.shape[1:])
    pixels = pixels[:RACE_PHOTOS]
    expected = _torch_run(module, autocast=False)(pixels)
    require_finite(expected)
    if not expected.any():
        raise _useless("all zero")
    if prefer in builders and (tried := _try(prefer, builders[prefer], pixels)) is not None:
        if _is_right(prefer, tried.features, expected):
            log.debug("engine: %s, as before", prefer)
            return Engine(prefer, tried.run, images_per_second=float("nan"))
        del builders[prefer]
    best: Engine | None = None
    for name, build in builders.items():
        if (tried := _try(name, build, pixels)) is not None:
            best = _race(name, tried, pixels, expected, best)
    assert best is not None, "torch in fp32 has run, and agrees with itself"
    log.info("engine: %s, %.0f images/s", best.name, best.images_per_second)
    return best


@dataclass(frozen=True)
class _Tried:
    """An engine that has run once: what came out, and how long that took."""

    run: Forward
    features: Features
    warm_up_s: float


def _try(name: str, build: Callable[[], Forward], pixels: Pixels) -> _Tried | None:
    """Build an engine and run it once; None where it fails here."""
    try:
        run = build()
        start = time.perf_counter()
        features = run(pixels)
    except ModelError:  # what cannot be exported could not ship
        raise
    except Exception as error:  # the engines' own exceptions share no narrower base
        log.info("engine: %s left out, it fails here: %s", name, first_line(error))
        return None
    return _Tried(run, features, time.perf_counter() - start)


def require_finite(features: Features) -> None:
    """Refuse features that hold what is no number, or whose squares would be none.

    Raises:
        UselessFeaturesError: they do.

    """
    if not np.isfinite(features).all():
        raise _useless("not finite numbers")
    if np.abs(features).max() > _LARGEST:
        raise _useless(f"larger than {_LARGEST:g}")


def _useless(what: str) -> UselessFeaturesError:
    return UselessFeaturesError(
        f"the backbone's weights give features that are {what}. Use other weights: "
        "--weights pretrained, or another FILE"
    )


def _is_right(name: str, features: Features, expected: Features) -> bool:
    if _least_cosine(features, expected) >= MIN_COSINE:  # NaN is not
        return True
    log.info("engine: %s left out, its features differ from torch in fp32", name)
    return False


def _race(
    name: str, tried: _Tried, pixels: Pixels, expected: Features, best: Engine | None
) -> Engine | None:
    """Time one engine against the best so far and return the better.

    An engine whose warm-up is already twice as slow as the best is timed no further:
    a race among slow networks should not last longer than it saves.
    """
    if not _is_right(name, tried.features, expected):
        return best
    if best is not None and tried.warm_up_s > 2 * len(pixels) / best.images_per_second:
        return best
    rate = len(pixels) / min(_timed(tried.run, pixels) for _ in range(2))
    log.debug("engine: %s, %.0f images/s", name, rate)
    return Engine(name, tried.run, rate) if best is None or rate > best.images_per_second else best


def _timed(run: Forward, pixels: Pixels) -> float:
    start = time.perf_counter()
    run(pixels)
    return time.perf_counter() - start


def _least_cosine(features: Features, expected: Features) -> float:
    """In float64, which squares of float32 neither leave nor sink to nothing in."""
    rows, right = (each.reshape(len(each), -1).astype(np.float64) for each in (features, expected))
    products = np.sum(rows * right, axis=1)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(right, axis=1)
    both_zero = ~rows.any(axis=1) & ~right.any(axis=1)  # as of a black photo: they agree
    return float(np.min(np.where(both_zero, 1.0, products / np.where(lengths, lengths, 1.0))))


def _builders(module: nn.Module, pixels_shape: tuple[int, ...]) -> dict[str, Callable[[], Forward]]:
    """Every engine that is installed, by name; each is built only when called."""
    graph: list[bytes] = []

    def graph_bytes() -> bytes:
        if not graph:
            exported = to_onnx(module, pixels_shape, ["features"])
            graph.append(exported.SerializeToString())
        return graph[0]

    builders: dict[str, Callable[[], Forward]] = {
        "onnxruntime": lambda: _onnxruntime_run(graph_bytes()),
        "torch-bf16": lambda: _torch_run(module, autocast=True),
        "torch-fp32": lambda: _torch_run(module, autocast=False),
    }
    if _runs_openvino():
        builders = {"openvino-bf16": lambda: _openvino_run(graph_bytes()), **builders}
    return builders


def _runs_openvino() -> bool:
    """Whether it is installed, and can count processors: where it sees neither, it never ends."""
    hidden = sys.platform == "linux" and not any(map(Path.exists, _PROCESSORS))
    return importlib.util.find_spec("openvino") is not None and not hidden


def _import_openvino() -> ModuleType:
    """OpenVINO without its telemetry, which tells Google Analytics of each import.

    It has a stand-in for where that package is not installed, and no other switch that leaves
    the user's home folder alone.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def _torch_run(module: nn.Module, *, autocast: bool) -> Forward:
    module = laid_out_module(module, torch.channels_last)

    def run(pixels: Pixels) -> Features:
        with (
            torch.inference_mode(),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast),
        ):
            features: Features = module(torch.from_numpy(pixels)).float().numpy()
        return features

    return run


def _onnxruntime_run(graph: bytes) -> Forward:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def run(pixels: Pixels) -> Features:
        (features,) = session.run(["features"], {INPUT: pixels})
        return np.asarray(features, dtype=np.float32)

    return run


def _openvino_run(graph: bytes) -> Forward:
    core = _import_openvino().Core()
    compiled = core.compile_model(
        core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"}
    )

    def run(pixels: Pixels) -> Features:
        return np.array(compiled(pixels)[0], dtype=np.float32)

    return run
