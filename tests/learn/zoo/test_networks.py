"""The zoo against known numbers, and against the same networks written by others."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from petclassify.errors import UsageError
from petclassify.learn.backbones.layer_table import describe
from petclassify.learn.zoo import NETWORKS, build, entry_of
from petclassify.learn.zoo.densenet import densenet121
from petclassify.learn.zoo.googlenet import Inception, InceptionMini
from petclassify.learn.zoo.layers import AtLeast
from petclassify.learn.zoo.nin import nin
from petclassify.learn.zoo.resnet import resnet18

LARGE = pytest.param("vgg11", marks=pytest.mark.slow)  # 133 million parameters
SMALL = [name for name in NETWORKS if not name.startswith(("vgg", "densenet121_"))]

# Of 1,000 classes and 3 channels; but for NiN as torchvision and timm count them.
PARAMETERS = {
    "nin": 7_595_176,
    "resnet18": 11_689_512,
    "densenet121": 7_978_856,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
}


def smallest(network: nn.Sequential) -> int:
    assert isinstance(network[0], AtLeast)
    return network[0].side


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_paper(name: str) -> None:
    with torch.device("meta"):
        network = build(name, 1000)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


def test_nin_learns_with_two_classes_from_any_seed() -> None:
    for seed in range(24):
        torch.manual_seed(seed)
        network = nin(2)
        features = network[:-1](torch.randn(4, 3, 67, 67))
        assert (features > 0).float().mean() > 0.1, f"seed {seed}: a dead class block"


def test_lenet5_has_the_61706_parameters_of_the_fully_connected_third_layer() -> None:
    assert sum(p.numel() for p in build("lenet5", 10, 1).parameters()) == 61_706


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [*SMALL, LARGE])
def test_a_network_learns_from_the_smallest_image_it_takes_and_from_odd_larger_ones(
    name: str, channels: int
) -> None:
    network = build(name, 4, channels).train()
    side = smallest(network)
    for size in ((side, side), (side + 9, side + 4)):
        logits = network(torch.randn(2, channels, *size))
        assert logits.shape == (2, 4)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    with pytest.raises(UsageError, match=f"needs images of at least {side} x {side} pixels"):
        network(torch.randn(2, channels, side, side - 1))


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("alexnet", {"pool1": (96, 26, 26), "pool2": (256, 12, 12), "flatten": (6400,)}),
        ("vgg11", {"block1": (64, 112, 112), "block5": (512, 7, 7), "flatten": (25088,)}),
        ("nin", {"pool1": (96, 26, 26), "pool3": (384, 5, 5), "class_block": (1024, 5, 5)}),
        ("googlenet", {"stem": (192, 28, 28), "stage4": (832, 7, 7), "flatten": (1024,)}),
        ("densenet121", {"block1": (256, 56, 56), "block4": (1024, 7, 7)}),
        ("lenet5", {"pool1": (6, 14, 14), "flatten": (400,)}),
        ("inception_mini", {"block1": (88, 12, 12), "block2": (88, 4, 4), "flatten": (1408,)}),
    ],
)
def test_shapes_are_those_on_the_page(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    with torch.device("meta"):
        network = build(name, 1000)
    window = entry_of(name).window
    found = {
        layer.name: layer.output_shape
        for layer in describe(name, network, (3, window, window)).layers
    }
    assert {layer: found[layer] for layer in shapes} == shapes


def test_inception_blocks_set_their_branches_side_by_side() -> None:
    assert Inception(192, 64, (96, 128), (16, 32), 32)(torch.zeros(2, 192, 8, 8)).shape[1] == 256
    assert InceptionMini(10)(torch.zeros(2, 10, 8, 8)).shape[1] == 16 + 24 + 24 + 24


@pytest.mark.parametrize(
    ("ours", "theirs", "size"),
    [
        ("resnet18", lambda: timm.create_model("resnet18"), 224),
        ("resnet18", lambda: torchvision.models.resnet18(), 97),
        ("vgg11", lambda: torchvision.models.vgg11(), 100),
        ("densenet121", lambda: timm.create_model("densenet121"), 96),
        ("densenet121", lambda: torchvision.models.densenet121(), 96),
    ],
)
def test_with_the_same_weights_the_outputs_are_those_of_others(ours, theirs, size: int) -> None:
    torch.manual_seed(0)
    network, other = build(ours, 1000).eval(), theirs().eval()
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that matter
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    state = network.state_dict()
    weights = other.state_dict()
    assert [v.shape for v in state.values()] == [v.shape for v in weights.values()]
    network.load_state_dict(dict(zip(state, weights.values(), strict=True)))
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = other(images)
        assert expected.std() > 0
        scale = expected.abs().max()
        torch.testing.assert_close(network(images) / scale, expected / scale, atol=1e-5, rtol=0)


def test_vgg11_equals_that_of_timm_where_its_first_dense_layer_is_a_convolution() -> None:
    network, other = build("vgg11", 10).eval(), timm.create_model("vgg11", num_classes=10).eval()
    weights = [
        value.flatten(1) if value.ndim == 4 and value.shape[0] == 4096 else value
        for value in other.state_dict().values()
    ]
    network.load_state_dict(dict(zip(network.state_dict(), weights, strict=True)))
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(network(images), other(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [resnet18, densenet121])
@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "group"])
def test_every_norm_trains(make, norm) -> None:
    network = make(3, norm=norm).train()
    side = smallest(network)
    network(torch.randn(2, 3, side, side)).square().sum().backward()
    kinds = {type(module) for module in network.modules()}
    assert (nn.BatchNorm2d in kinds) == (norm == "batch")
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(("mlp_layers", "convolutions"), [(1, 7), (2, 11)])
def test_nin_has_one_or_two_1x1_convolutions_in_each_block(
    mlp_layers: int, convolutions: int
) -> None:
    network = nin(10, mlp_layers=mlp_layers)
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == convolutions


def test_the_head_of_nin_is_a_1x1_convolution_before_the_average() -> None:
    network = nin(10).eval()
    nn.init.normal_(network.head.weight)
    convolution = nn.Conv2d(1024, 10, 1)
    convolution.load_state_dict(
        {"weight": network.head.weight[:, :, None, None], "bias": network.head.bias}
    )
    images = torch.randn(2, 3, 99, 99)
    with torch.no_grad():
        maps = network[: list(dict(network.named_children())).index("pool")](images)
        before, after = convolution(maps).mean(dim=(2, 3)), network(images)
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["nin", "vgg19", "alexnet"])
def test_the_first_weights_keep_the_size_of_a_signal_where_the_usual_ones_lose_it(
    name: str,
) -> None:
    torch.manual_seed(0)
    network = build(name, 10).eval()
    images = torch.randn(2, 3, 96, 96)

    def signal() -> float:
        with torch.no_grad():
            return float(network[:-1](images).std())

    assert 0.05 < signal() < 20
    kept = signal()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
    assert signal() < kept / 5


def test_an_unknown_network_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="did you mean zoo/resnet18"):
        entry_of("zoo/resnet81")
    with pytest.raises(UsageError, match="there are zoo/lenet5, zoo/alexnet"):
        entry_of("zoo/xyz")
