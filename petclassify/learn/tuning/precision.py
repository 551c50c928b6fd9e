"""The number format and memory layout in which open layers train fastest, by measuring.

bf16 with the channels last is twice as fast as fp32 on processors that multiply bf16, and
slower on those that do not; no flag of the processor says it for every network. So each
candidate makes a pass forward and back to warm up and two that are timed, on the first photos.
"""

from __future__ import annotations

import copy
import logging
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from petclassify.config import Precision
from petclassify.learn.memory_layout import laid_out, laid_out_module

log = logging.getLogger(__name__)

RACE_PHOTOS = 16


@dataclass(frozen=True)
class Arithmetic:
    """How open layers compute.

    Attributes:
        name: as printed and kept in the resume state.
        fabric: the precision in Lightning Fabric's words.
        layout: of four-dimensional weights and inputs in memory.

    """

    name: str
    fabric: str
    layout: torch.memory_format


_CANDIDATES = (
    Arithmetic("bf16, channels last", "bf16-mixed", torch.channels_last),
    Arithmetic("fp32, channels last", "32-true", torch.channels_last),
    Arithmetic("fp32", "32-true", torch.contiguous_format),
)
ARITHMETIC = {candidate.name: candidate for candidate in _CANDIDATES}


def choose_arithmetic(wanted: Precision, module: nn.Module, inputs: Tensor) -> Arithmetic:
    """Time the candidates on forward and backward passes and take the fastest.

    Args:
        wanted: "auto", or what every candidate must be.
        module: inputs to logits; it is copied, not changed.
        inputs: (N, ...), at most RACE_PHOTOS of them are used.

    """
    candidates = [c for c in _CANDIDATES if wanted == "auto" or c.name.startswith(wanted)]
    rates: dict[str, float] = {}
    for candidate in candidates:
        seconds = _time_step(candidate, copy.deepcopy(module), inputs[:RACE_PHOTOS])
        rates[candidate.name] = min(len(inputs), RACE_PHOTOS) / seconds
    best = max(rates, key=rates.__getitem__)
    shown = "; ".join(f"{name} {rate:.0f}/s" for name, rate in rates.items())
    log.info("layers that train, measured: %s", shown)
    return ARITHMETIC[best]


def choose_on_gpu(wanted: Precision) -> Arithmetic:
    """On a GPU: bf16 where it is built in, else fp32."""
    fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    name = _CANDIDATES[0 if wanted == "bf16" or (wanted == "auto" and fast) else 1].name
    log.info("layers that train: %s", name)
    return ARITHMETIC[name]


def _time_step(candidate: Arithmetic, module: nn.Module, inputs: Tensor) -> float:
    """Seconds of one forward and backward pass, the better of two after one to warm up."""
    module = laid_out_module(module, candidate.layout)
    inputs = laid_out(inputs, candidate.layout)
    bf16 = candidate.fabric.startswith("bf16")
    times = []
    for _ in range(3):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = module(inputs).float().logsumexp(dim=1).sum()
        loss.backward()
        times.append(time.perf_counter() - start)
    return min(times[1:])
