from __future__ import annotations

import dataclasses
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from petclassify.config import Resize
from petclassify.errors import EnvironmentFault, ImageError, ImageFault, ModelError
from petclassify.images.digests import digest_file
from petclassify.learn.backbones.backbone import Backbone, load_backbone
from petclassify.learn.data import ahead
from petclassify.learn.frozen import frozen_pass as frozen_pass_module
from petclassify.learn.frozen.engines import Engine
from petclassify.learn.frozen.feature_cache import FeatureCache
from petclassify.learn.frozen.frozen_pass import BATCH_SIZE, FrozenPass
from tests.conftest import SMALL_DISK_BYTES


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("tf_efficientnet_lite0", "pretrained", 64)


def digests(folder: Path) -> dict[str, Path]:
    return {str(digest_file(path)): path for path in sorted(folder.rglob("*.*g"))}


def test_features_come_back_as_they_went_in(tmp_path: Path, backbone: Backbone) -> None:
    cache = FeatureCache.open(tmp_path, backbone)
    features = np.random.default_rng(0).normal(size=(3, 2, backbone.num_features))
    cache.put(["a", "b", "c"], features.astype(np.float32))
    np.testing.assert_array_equal(cache.get(["c", "a"], 2), features[[2, 0]].astype(np.float32))
    np.testing.assert_array_equal(cache.get(["b"], 1), features[[1], :1].astype(np.float32))
    assert cache.known(["a", "z"], views=2) == {"a"}
    with pytest.raises(EnvironmentFault, match="emptied meanwhile"):
        cache.get(["z"], 1)


@pytest.mark.attack("Kills")
def test_a_run_that_needs_fewer_views_takes_none_from_another(
    tmp_path: Path, backbone: Backbone
) -> None:
    mine, other = (FeatureCache.open(tmp_path, backbone) for _ in range(2))
    features = np.random.default_rng(0).normal(size=(1, 2, backbone.num_features))
    mine.put(["a"], features.astype(np.float32))
    other.put(["a"], features[:, :1].astype(np.float32))  # it had begun when there were none
    np.testing.assert_array_equal(mine.get(["a"], 2), features.astype(np.float32))


def test_another_window_network_or_weights_is_another_cache(
    tmp_path: Path, backbone: Backbone
) -> None:
    other_weights = load_backbone("tf_efficientnet_lite0", "pretrained", 64)
    with torch.no_grad():
        next(iter(other_weights.extractor.parameters())).view(-1)[0] += 1e-6
    others = [
        backbone,
        dataclasses.replace(backbone, resize=Resize(80, 64, "bicubic")),
        dataclasses.replace(backbone, resize=Resize(73, 64, "bilinear")),
        dataclasses.replace(backbone, name="another"),
        other_weights,
    ]
    paths = {FeatureCache.open(tmp_path, one).path for one in others}
    assert len(paths) == len(others)


@pytest.mark.parametrize("package", ["timm", "torch", "onnxruntime", "openvino"])
def test_another_version_may_compute_other_features(
    tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    before = FeatureCache.open(tmp_path, backbone).path
    monkeypatch.setattr(
        "petclassify.learn.frozen.feature_cache.version",
        lambda asked: "99.0" if asked == package else version(asked),
    )
    assert FeatureCache.open(tmp_path, backbone).path != before


def test_one_changed_photo_computes_one_photo(
    tmp_path: Path, backbone: Backbone, drawn_pets: Path, copied: Callable[[Path], Path]
) -> None:
    folder = copied(drawn_pets)
    computed: list[int] = []

    class Counted(FeatureCache):
        def put(self, digests, features) -> None:
            computed.append(len(digests))
            super().put(digests, features)

    frozen_pass = FrozenPass(backbone, Counted.open(tmp_path / "cache", backbone))
    frozen_pass.run([(digests(folder), 2)], max_unreadable=0)
    assert sum(computed) == 60
    computed.clear()
    frozen_pass.run([(digests(folder), 2)], max_unreadable=0)
    assert sum(computed) == 0
    changed = next(folder.rglob("*.jpg"))
    Image.open(changed).transpose(Image.Transpose.ROTATE_180).save(changed)
    frozen_pass.run([(digests(folder), 2)], max_unreadable=0)
    assert sum(computed) == 1


def test_the_pass_ends_soon_after_one_photo_too_many(
    tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def broken(path: Path, _: Resize) -> None:
        read.append(path)
        raise ImageError(ImageFault.UNREADABLE, "broken", path)

    monkeypatch.setattr(ahead, "read_pixels", broken)
    photos, others = (
        {f"{name}{number}": tmp_path / f"{name}{number}" for number in range(1000)}
        for name in ("first", "second")
    )
    frozen_pass = FrozenPass(backbone, FeatureCache.open(tmp_path / "cache", backbone))
    unreadable = frozen_pass.run([(photos, 2), (others, 1)], max_unreadable=3)
    assert 3 < len(unreadable) < 40
    assert len(read) < 60  # some were already being read ahead
    assert not any(path.name.startswith("second") for path in read)


def test_numbers_that_fail_after_the_race_are_refused(
    tmp_path: Path, backbone: Backbone, drawn_pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = np.full((60, backbone.num_features), np.nan, np.float32)
    broken = Engine("broken", lambda pixels: nothing[: len(pixels)], 1.0)
    monkeypatch.setattr(frozen_pass_module, "fastest_engine", lambda *_, **__: broken)
    frozen = FrozenPass(backbone, FeatureCache.open(tmp_path, backbone))
    with pytest.raises(ModelError, match="not finite numbers"):
        frozen.run([(digests(drawn_pets), 2)], max_unreadable=0)


def test_the_mirror_image_is_the_second_view(
    tmp_path: Path, backbone: Backbone, drawn_pets: Path
) -> None:
    photo = next(drawn_pets.rglob("*.jpg"))
    mirrored = tmp_path / "mirrored.png"
    Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored)
    frozen_pass = FrozenPass(backbone, FeatureCache.open(tmp_path / "cache", backbone))
    names = [str(digest_file(photo)), str(digest_file(mirrored))]
    frozen_pass.run([(dict(zip(names, [photo, mirrored], strict=True)), 2)], max_unreadable=0)
    features = frozen_pass.cache.get(names, views=2)
    cosine = np.sum(features[0, 1] * features[1, 0]) / np.prod(
        np.linalg.norm([features[0, 1], features[1, 0]], axis=1)
    )
    assert cosine > 0.98


KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from petclassify.learn.frozen.frozen_pass import FrozenPass
from petclassify.learn.backbones.backbone import load_backbone
from petclassify.learn.frozen.feature_cache import FeatureCache
from tests.conftest import SMALL_DISK_BYTES
from petclassify.images.digests import digest_file

class Killed(FeatureCache):
    batches = 0
    def put(self, digests, features):
        Killed.batches += 1
        if Killed.batches == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super().put(digests, features)

backbone = load_backbone("tf_efficientnet_lite0", "pretrained", 64)
photos = {str(digest_file(p)): p for p in sorted(Path(sys.argv[1]).rglob("*.jpg"))}
FrozenPass(backbone, Killed.open(Path(sys.argv[2]), backbone)).run([(photos, 2)], 0)
"""


@pytest.mark.attack("Kills")
def test_a_killed_pass_keeps_its_whole_batches(
    tmp_path: Path, backbone: Backbone, drawn_pets: Path
) -> None:
    command = [sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(drawn_pets), str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    cache = FeatureCache.open(tmp_path, backbone)
    photos = digests(drawn_pets)
    kept = cache.known(photos, views=2)
    assert len(kept) == BATCH_SIZE
    before = cache.get(sorted(kept), 2)
    FrozenPass(backbone, cache).run([(photos, 2)], max_unreadable=0)
    assert len(cache.known(photos, views=2)) == 60
    np.testing.assert_array_equal(cache.get(sorted(kept), 2), before)


@pytest.mark.attack("Disks")
def test_a_damaged_cache_is_started_anew(tmp_path: Path, backbone: Backbone) -> None:
    path = FeatureCache.open(tmp_path, backbone).path
    path.write_bytes(b"no database" * 1000)
    assert FeatureCache.open(tmp_path, backbone).known(["a"], 1) == set()


def test_an_engine_that_is_gone_is_replaced_for_all_photos(
    tmp_path: Path, backbone: Backbone, drawn_pets: Path
) -> None:
    photos = digests(drawn_pets)
    names = sorted(photos)
    gone = FeatureCache.open(tmp_path, backbone).with_engine("gone")
    alien = np.full((40, 2, backbone.num_features), 7, np.float32)
    gone.put(names[:40], alien)
    frozen_pass = FrozenPass(backbone, FeatureCache.open(tmp_path, backbone))
    fitted = {name: photos[name] for name in names[:40]}
    tested = {name: photos[name] for name in names[40:]}
    frozen_pass.run([(fitted, 2), (tested, 1)], max_unreadable=0)
    assert frozen_pass.cache.engine != "gone"
    assert not np.any(frozen_pass.cache.get(names[:40], 2) == 7)
    assert FeatureCache.open(tmp_path, backbone).engine == frozen_pass.cache.engine
    np.testing.assert_array_equal(gone.get(names[:40], 2), alien)


@pytest.mark.attack("Disks")
def test_a_photo_that_changes_under_the_pass_is_not_cached(
    tmp_path: Path, backbone: Backbone, drawn_pets: Path
) -> None:
    photo = next(drawn_pets.rglob("*.jpg"))
    frozen_pass = FrozenPass(backbone, FeatureCache.open(tmp_path, backbone))
    found = frozen_pass.run([({"digest of what it was": photo}, 2)], max_unreadable=0)
    assert found["digest of what it was"].reason == "changed while it was read"
    assert frozen_pass.cache.known(["digest of what it was"], 1) == set()


@pytest.mark.attack("Disks")
def test_a_database_damaged_in_the_middle_is_started_anew(
    tmp_path: Path, backbone: Backbone
) -> None:
    cache = FeatureCache.open(tmp_path, backbone).with_engine("one")
    names = [str(number) for number in range(200)]
    cache.put(names, np.zeros((200, 2, backbone.num_features), np.float32))
    content = bytearray(cache.path.read_bytes())
    content[4096:-4096] = b"\xff" * (len(content) - 8192)
    cache.path.write_bytes(content)
    assert FeatureCache.open(tmp_path, backbone).known(names, 1) == set()


@pytest.mark.attack("Disks")
@pytest.mark.parametrize(
    "vectors", ["zeroblob(9999)", "zeroblob(3)", "printf('%09999d', 0)", "NULL"]
)
@pytest.mark.attack("Disks")
def test_a_row_that_holds_no_features_is_as_none(
    tmp_path: Path, backbone: Backbone, vectors: str
) -> None:
    cache = FeatureCache.open(tmp_path, backbone).with_engine("one")
    features = np.ones((2, 2, backbone.num_features), np.float32)
    cache.put(["a", "b"], features)
    with closing(sqlite3.connect(cache.path)) as connection, connection:
        connection.execute(f"UPDATE features SET vectors = {vectors} WHERE digest = 'a'")
    assert cache.known(["a", "b"], views=1) == {"b"}
    cache.put(["a"], features[:1])
    np.testing.assert_array_equal(cache.get(["a", "b"], 2), features)


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path, backbone: Backbone) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EnvironmentFault, match="Choose another with --cache DIR"):
        FeatureCache.open(tmp_path / "file", backbone)


@pytest.mark.attack("Disks")
def test_a_full_disk_is_the_environments_fault(small_disk: Path, backbone: Backbone) -> None:
    cache = FeatureCache.open(small_disk, backbone)
    big = np.zeros((64, 2, backbone.num_features), np.float32)
    assert big.nbytes > SMALL_DISK_BYTES
    with pytest.raises(EnvironmentFault, match="full"):
        cache.put([str(i) for i in range(64)], big)
    assert cache.known(["0"], 1) == set()
