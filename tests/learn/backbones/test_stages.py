from __future__ import annotations

from collections import Counter

import pytest
import timm
import torch

from petclassify.errors import UsageError
from petclassify.learn.backbones.backbone import empty_backbone
from petclassify.learn.backbones.stages import find_stages, open_top
from petclassify.learn.tuning.cut import cut

LARGE = "vgg11"  # of 133 million parameters
LARGE_IF_SLOW = pytest.param(LARGE, marks=pytest.mark.slow)
LAST_STAGES = {
    LARGE: "pre_logits",
    "resnet18": "layer4",
    "densenet121": "features.denseblock4",
    "tf_efficientnet_lite0": "blocks.6",
    "vit_tiny_patch16_224": "blocks.11",
    "convnext_atto": "stages.3",
}


@pytest.mark.parametrize("name", LAST_STAGES)
def test_every_parameter_lies_in_one_stage_stem_first(name: str) -> None:
    network = empty_backbone(name, 224).extractor.network
    stages = find_stages(network)
    counted = Counter(parameter for stage in stages for parameter in stage.parameters)
    assert counted == Counter(name for name, _ in network.named_parameters())
    assert stages[-1].name == LAST_STAGES[name]
    first = next(iter(dict(network.named_parameters())))
    assert first in stages[0].parameters


def test_a_network_whose_stages_timm_does_not_name_is_refused() -> None:
    with torch.device("meta"):
        network = timm.create_model("rdnet_tiny")
    with pytest.raises(UsageError, match="RDNet: timm does not name its stages"):
        find_stages(network)


@pytest.mark.parametrize("name", [name for name in LAST_STAGES if name != LARGE] + [LARGE_IF_SLOW])
@pytest.mark.parametrize("count", [1, 2])
def test_a_cut_network_gives_the_same_features_and_gradients(name: str, count: int) -> None:
    torch.manual_seed(0)
    backbone = empty_backbone(name, 224)
    network = backbone.extractor.network
    stages = find_stages(network)
    open_top(network, stages, count)
    opened = {parameter for stage in stages[-count:] for parameter in stage.parameters}
    parts = cut(backbone.extractor)
    assert parts.frozen is not None
    frozen = {n.removeprefix("network.") for n, _ in parts.frozen.named_parameters()}
    assert frozen.isdisjoint(opened)
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    whole = backbone.extractor(pixels)
    with torch.no_grad():
        below = parts.frozen(pixels)
    assert torch.equal(parts.open(below), whole)
    parts.open(below).sum().backward()
    assert {n for n, p in network.named_parameters() if p.grad is not None} == opened


def test_with_all_layers_open_nothing_is_cut_off() -> None:
    extractor = empty_backbone("resnet18", 64).extractor
    stages = find_stages(extractor.network)
    open_top(extractor.network, stages, len(stages))
    parts = cut(extractor)
    assert parts.frozen is None
    assert parts.open is extractor
