from __future__ import annotations

import pytest
import timm
from timm.models import _registry

from petclassify.errors import UsageError
from petclassify.learn.backbones.timm_names import (
    former_timm_names,
    require_timm_name,
    timm_names,
)


def test_the_names_are_those_that_timm_itself_lists() -> None:
    assert timm_names() == set(timm.list_models())
    assert timm_names() | former_timm_names() == set(_registry._model_entrypoints)


@pytest.mark.parametrize("name", ["resnet18", "resnet50.a1_in1k", "tv_resnet34"])
def test_a_name_of_timms_is_taken_with_a_tag_and_by_its_former_spelling(name: str) -> None:
    require_timm_name(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet81", "resnet18"),
        ("ResNet18", "resnet18"),
        ("lenet5", "zoo/lenet5"),
        ("x", "see"),
        ("../x", r"'\.\./x'"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=meant):
        require_timm_name(name)
