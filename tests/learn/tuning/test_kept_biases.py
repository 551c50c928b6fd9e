from __future__ import annotations

import pytest
import torch

from petclassify.learn.backbones.backbone import empty_backbone
from petclassify.learn.backbones.stages import find_stages, open_top
from petclassify.learn.tuning.cut import cut


@pytest.mark.parametrize("name", ["efficientvit_m0", "levit_128s"])
def test_a_network_that_keeps_its_biases_learns_for_more_than_one_step(name: str) -> None:
    torch.manual_seed(0)
    backbone = empty_backbone(name, 224)
    network = backbone.extractor.eval().network
    pixels = torch.zeros(1, *backbone.pixels_shape, dtype=torch.uint8)
    backbone.extractor(pixels)  # as before any cut, a pass has seen photos
    stages = find_stages(network)
    open_top(network, stages, len(stages) - 1)
    parts = cut(backbone.extractor)
    assert parts.frozen is not None
    below = parts.frozen(pixels).detach()
    opened = {parameter for stage in stages[1:] for parameter in stage.parameters}
    biases = [p for n, p in network.named_parameters() if "attention_biases" in n and n in opened]
    assert biases
    for _ in range(2):
        for bias in biases:
            bias.grad = None
        parts.open(below).sum().backward()
        assert all(bias.grad is not None for bias in biases)
