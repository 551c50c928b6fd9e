"""Attention biases that timm's LeViT and its kin keep from one call to the next.

Outside training mode, in which a pretrained network is trained here too, they are computed once:
the second step would then go back through the first one's graph, which is spent, and a recorded
network would hold the first one's biases as constants.
"""

from __future__ import annotations

from torch import nn

_CACHE = "attention_bias_cache"


def compute_biases_anew(network: nn.Module) -> None:
    """Have each call compute its biases, until `eval` is called: nothing else tells these modes."""
    for part in network.modules():
        if hasattr(part, _CACHE):
            part.training = True
