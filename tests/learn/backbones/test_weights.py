from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from petclassify.errors import EnvironmentFault, ModelError, UsageError
from petclassify.images.photo import read_pixels
from petclassify.learn.backbones.backbone import _from_timm, empty_backbone, load_backbone
from petclassify.learn.backbones.state_dicts import digest_weights, read_state_dict
from petclassify.learn.backbones.weights import load_pretrained

# ImageNet-1k: domestic cats and wild relatives, domestic dogs.
CATS, DOGS = range(281, 294), range(151, 269)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite1"])
def test_packaged_weights_know_cats_from_dogs(name: str, catsdogs: Path) -> None:
    """Loaded position by position, so only a network that still sees proves the order right."""
    backbone = load_backbone(name, "pretrained")
    classifier = load_pretrained(name, "pretrained").eval().get_classifier()
    right = []
    for folder, classes in (("cats", CATS), ("dogs", DOGS)):
        photos = sorted((catsdogs / "test" / folder).iterdir())[:40]
        pixels = np.stack([read_pixels(photo, backbone.resize) for photo in photos])
        with torch.inference_mode():
            found = classifier(backbone.extractor(torch.from_numpy(pixels))).argmax(dim=1)
        right += [int(one) in classes for one in found]
    assert np.mean(right) > 0.8


@pytest.mark.parametrize(
    ("name", "width"),
    [("resnet18", 512), ("mobilenetv3_small_050", 1024), ("vit_tiny_patch16_224", 192)],
)
def test_any_timm_name_gives_its_features(name: str, width: int, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    network = timm.create_model(name)
    save_file(network.state_dict(), path)
    backbone = load_backbone(name, str(path))
    assert backbone.num_features == width
    for key, value in backbone.extractor.network.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[key], rtol=0, atol=0)


def test_the_features_of_vgg_are_those_before_its_classifier() -> None:
    assert _from_timm("vgg11", timm.create_model("vgg11"), None).num_features == 4096


def test_another_window_reaches_networks_with_positions(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), path)
    assert load_backbone("vit_tiny_patch16_224", str(path), 160).pixels_shape == (160, 160, 3)


@pytest.mark.parametrize("name", ["nest_tiny", "twins_pcpvt_small", "mvitv2_tiny"])
def test_a_window_that_a_network_cannot_be_built_for_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} cannot take 100 x 100 pixels"):
        empty_backbone(name, 100)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_weights_without_or_with_another_classifier_load(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"weights{ending}"
    save = save_file if ending == ".safetensors" else torch.save
    for num_classes in (0, 7):
        network = timm.create_model("resnet18", num_classes=num_classes)
        save(network.state_dict(), path)
        loaded = load_backbone("resnet18", str(path)).extractor.network
        assert torch.equal(loaded.conv1.weight, network.conv1.weight)


@pytest.mark.attack("Weights and checkpoints")
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("resnet34").state_dict(), path)
    with pytest.raises(ModelError, match="these weights are not those of resnet18"):
        load_backbone("resnet18", str(path))
    partial = timm.create_model("resnet18").state_dict()
    del partial["layer3.0.conv1.weight"]
    save_file(partial, path)
    with pytest.raises(ModelError, match="these weights are not those of resnet18"):
        load_backbone("resnet18", str(path))
    one_number = timm.create_model("resnet18").state_dict() | {"fc.weight": torch.tensor(3.0)}
    save_file(one_number, path)
    with pytest.raises(ModelError, match="these weights are not those of resnet18"):
        load_backbone("resnet18", str(path))


@pytest.mark.attack("Weights and checkpoints")
def test_weights_that_timm_cannot_convert_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    state = timm.create_model("test_vit").state_dict() | {"pos_embed": torch.zeros(1, 0, 64)}
    save_file(state, path)
    with pytest.raises(ModelError, match="these weights are not those of test_vit: math domain"):
        load_backbone("test_vit", str(path))


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
@pytest.mark.attack("Weights and checkpoints")
def test_a_pickle_is_refused_and_nothing_in_it_runs(tmp_path: Path, ending: str, save) -> None:
    path, flown = tmp_path / f"weights{ending}", tmp_path / "flown"
    save({"conv1.weight": Canary(flown)}, path)
    with pytest.raises(ModelError):
        read_state_dict(path)
    assert not flown.exists()


@pytest.mark.attack("Weights and checkpoints")
def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file({"a": torch.zeros(100)}, whole)
    content = whole.read_bytes()
    for name, spoilt in {
        "cut.safetensors": content[:-50],
        "lying.safetensors": (2**40).to_bytes(8, "little") + content[8:],
        "empty.safetensors": b"",
        "empty.pth": b"",
        "text.pth": b"weights",
        "lookup.pth": b"hello there",
    }.items():
        (tmp_path / name).write_bytes(spoilt)
        with pytest.raises(
            ModelError, match=rf"{name}: (damaged or not a weights file($|: \D)|ref)"
        ):
            read_state_dict(tmp_path / name)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_complex_weights_are_refused_rather_than_halved(tmp_path: Path, suffix: str) -> None:
    state = {"a": torch.zeros(3, dtype=torch.complex64)}
    path = tmp_path / f"complex{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    with pytest.raises(ModelError, match="complex numbers"):
        read_state_dict(path)


def test_a_misspelt_backbone_names_its_neighbours() -> None:
    with pytest.raises(UsageError, match=r"did you mean resnet18\b"):
        load_backbone("resnet81", "pretrained")
    with pytest.raises(UsageError, match=r"did you mean resnet18\.a"):
        load_backbone("resnet18.a7_in1k", "pretrained")


def test_an_encoder_of_a_language_model_is_refused() -> None:
    """It has no classifier to take off, and no features of the whole photo below it."""
    with torch.device("meta"), pytest.raises(UsageError, match="an encoder, which gives"):
        empty_backbone("mobilenetv5_300m_enc", None)


def test_one_changed_weight_is_another_digest() -> None:
    network = timm.create_model("resnet18")
    before = digest_weights(network)
    with torch.no_grad():
        network.layer4[1].bn2.running_var[511] += 1
    assert digest_weights(network) != before


LOADED_FROM_HUB = """
import sys, torch
from safetensors.torch import load_file
from petclassify.images.photo import read_pixels
from petclassify.learn.backbones.backbone import _from_timm, load_backbone
name, expected = sys.argv[1], load_file(sys.argv[2])
found = load_backbone(name, "pretrained").extractor.network.state_dict()
assert len(found) > 10
assert all(torch.equal(value, expected[key]) for key, value in found.items())
print("number for number")
"""


def lay_out_hub_cache(home: Path, name: str) -> Path:
    """What the hub's client leaves on disk after a download, with random weights in it."""
    hub_id = timm.get_pretrained_cfg(name).hf_hub_id
    repository = home / "hub" / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


@pytest.mark.parametrize("name", ["resnet18", pytest.param("vgg16", marks=pytest.mark.slow)])
def test_the_hubs_cache_is_loaded_number_for_number(tmp_path: Path, name: str) -> None:
    weights = lay_out_hub_cache(tmp_path, name)
    environment = os.environ | {"HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LOADED_FROM_HUB, name, str(weights)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "number for number\n", done.stderr


@pytest.fixture
def silent_hub() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("hub", ["refusing", "silent", "no address", "no port"])
def test_a_hub_out_of_reach_ends_soon_and_names_three_ways(
    tmp_path: Path, drawn_pets: Path, silent_hub: str, hub: str
) -> None:
    (tmp_path / "hub" / "models--google--bert").mkdir(parents=True)
    hubs = {"refusing": "http://127.0.0.1:9", "silent": silent_hub, "no address": "hub"}
    hubs["no port"] = "http://hub:port"  # as a variable with a proxy may have none either
    endpoint = hubs[hub]
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_ENDPOINT": endpoint}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "petclassify", "train", str(drawn_pets), "--backbone", "resnet18"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert time.monotonic() - start < 5
    assert done.returncode == EnvironmentFault.exit_code
    assert done.stderr.count("\n") == 1
    for way in ("Use tf_efficientnet_lite0", "--weights FILE", "--weights none"):
        assert way in done.stderr


@pytest.mark.parametrize(
    "rows",
    [
        torch.zeros(1).expand(10**5, 512),
        torch.empty(10**5, 512, device="meta"),
        torch.sparse_coo_tensor(torch.zeros(2, 0), [], (10**5, 512), check_invariants=True),
    ],
    ids=["one number for all", "none", "sparse"],
)
@pytest.mark.attack("Weights and checkpoints")
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_a_few_bytes_are_no_classifier_of_any_size(tmp_path: Path, rows: torch.Tensor) -> None:
    state = timm.create_model("resnet18", pretrained=False).state_dict()
    torch.save(state | {"fc.weight": rows, "fc.bias": torch.zeros(10**5)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="its classifier is larger than what the file holds"):
        load_pretrained("resnet18", str(tmp_path / "w.pth"))
