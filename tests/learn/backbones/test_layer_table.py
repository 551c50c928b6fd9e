from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import timm
from torch import nn

from petclassify.errors import ExitCode, UsageError
from petclassify.learn.backbones.layer_table import describe, describe_network, parse_shape
from tests.conftest import Outcome

Run = Callable[..., Outcome]


def test_the_lesson_of_the_1x1_convolution() -> None:
    direct = describe("direct", nn.Sequential(nn.Conv2d(192, 32, 5, padding=2)), (192, 28, 28))
    assert direct.macs == 120_422_400
    table = describe_network("zoo/googlenet", (3, 224, 224))
    (branch,) = (layer for layer in table.layers if layer.name == "stage3.0.branch3")
    assert branch.output_shape == (32, 28, 28)
    assert branch.macs == 12_443_648


def test_leaves_add_up_to_the_network() -> None:
    table = describe_network("zoo/densenet121", (3, 224, 224))
    leaves = [layer for layer in table.layers if layer.is_leaf]
    assert sum(layer.parameters for layer in leaves) == table.parameters == 7_978_856
    assert sum(layer.macs for layer in leaves) == table.macs
    assert table.weights_bytes >= 4 * table.parameters


def test_a_stage_counts_what_lies_in_it() -> None:
    table = describe_network("zoo/resnet18", (1, 224, 224))
    stages = [layer for layer in table.layers if layer.depth == 0]
    shapes = [layer.output_shape for layer in stages[:5]]
    assert shapes == [(64, 56, 56), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]
    assert sum(stage.parameters for stage in stages) == table.parameters
    assert sum(stage.macs for stage in stages) == table.macs


def test_products_inside_of_attention_count() -> None:
    table = describe_network("vit_tiny_patch16_224", None)
    tokens, width, blocks = 197, 192, 12
    attention = blocks * 2 * tokens * tokens * width
    leaves = sum(layer.macs for layer in table.layers if layer.is_leaf)
    assert table.macs == leaves + attention
    whole = timm.create_model("vit_tiny_patch16_224")
    assert table.parameters == sum(p.numel() for p in whole.parameters())


def test_a_module_that_runs_twice_counts_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, inputs):
            return self.layer(self.layer(inputs.flatten(1)))

    table = describe("twice", Twice(), (4, 1, 1))
    assert table.macs == table.layers[0].macs == 2 * 16
    assert table.parameters == 16


@pytest.mark.parametrize(
    "text", ["", "3", "3x5", "3x0x5", "axbxc", "3x5x5x5", "-3x5x5", "9" * 5000 + "x5x5"]
)
def test_a_shape_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected CxHxW"):
        parse_shape(text)


def test_the_table_on_the_terminal(petclassify: Run) -> None:
    done = petclassify("networks", "zoo/resnet18", "--input", "1x224x224", "--depth", "1")
    assert done.code == 0
    for shape in ("64x56x56", "128x28x28", "256x14x14", "512x7x7"):
        assert shape in done.out
    assert "stage1.0" not in done.out
    assert done.out.count("64x56x56") == 2
    total = petclassify("networks", "zoo/resnet18", "--input", "3x224x224", "--depth", "1").out
    assert "11,689,512" in total


def test_a_network_of_the_zoo_comes_with_its_page(petclassify: Run) -> None:
    shown = petclassify("networks", "zoo/googlenet", "--depth", "1").out
    assert "Szegedy et al. 2015" in shown
    assert "120,422,400" in shown
    assert petclassify("networks", "resnet18", "--depth", "1").out.startswith("resnet18, input")


def test_the_table_as_json(petclassify: Run) -> None:
    found = json.loads(petclassify("networks", "zoo/densenet121", "--format", "json").out)
    assert found["parameters"] == 7_978_856
    assert found["input_shape"] == [3, 224, 224]
    assert found["layers"][0]["name"] == "stem"


def test_the_list_names_the_zoo_the_offline_ones_and_timms_families(petclassify: Run) -> None:
    listed = petclassify("networks").out
    for name in ("zoo/lenet5", "zoo/densenet121", "tf_efficientnet_lite0", "vision_transformer"):
        assert name in listed
    families = json.loads(petclassify("networks", "--format", "json").out)["families"]
    assert {"resnet", "vgg", "efficientnet", "vision_transformer"} <= set(families)
    assert "resnet18.a1_in1k" in families["resnet"]


def test_a_pattern_lists_names(petclassify: Run) -> None:
    names = petclassify("networks", "*resnet18*").out.splitlines()
    assert {"zoo/resnet18", "zoo/resnet18_group", "resnet18.a1_in1k"} <= set(names)
    assert all("resnet18" in name for name in names)


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (["zoo/resnet81"], "did you mean zoo/resnet18"),
        (["resnet81"], "unknown backbone 'resnet81': did you mean"),
        (["zz*"], "no network is called like 'zz*'"),
        (["zoo/nin", "--input", "3x32x32"], "at least 67 x 67 pixels"),
        (["vit_tiny_patch16_224", "--input", "3x64x64"], "cannot take 3x64x64"),
        (["resnet18", "--input", "3x64"], "expected CxHxW"),
        (["resnet18", "--num-classes", "99999999999999999999"], "is not in the range"),
    ],
)
def test_what_cannot_be_described_is_one_line(
    petclassify: Run, arguments: list[str], finding: str
) -> None:
    done = petclassify("networks", *arguments)
    assert done.code == ExitCode.USAGE
    assert finding in done.err
    assert len(done.err.splitlines()) == 1
