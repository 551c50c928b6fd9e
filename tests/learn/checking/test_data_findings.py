from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from petclassify.config import TrainConfig
from petclassify.errors import DataError
from petclassify.images.drawn_pets import draw_pets
from petclassify.learn.backbones.backbone import FeatureExtractor
from petclassify.learn.candidates import Candidate
from petclassify.learn.checking.data_findings import describe_data
from petclassify.learn.data.dataset import Dataset, Member, prepare_dataset, split_dataset
from petclassify.learn.head.calibration import UNCALIBRATED
from petclassify.learn.head.logistic import Head
from petclassify.learn.preflight import check_request
from petclassify.learn.train import train


def test_a_runs_report_says_what_is_wrong_with_its_data(
    tmp_path: Path, feature_cache: Path
) -> None:
    data = tmp_path / "pets"
    for split, count, seed in (("train", 60, 0), ("test", 20, 1)):
        draw_pets(data / split, count, seed)
    cat, dog = (sorted((data / "train" / name).iterdir()) for name in ("cats", "dogs"))
    with Image.open(cat[0]) as photo:
        ImageOps.mirror(photo).resize((140, 140)).convert("RGB").save(
            data / "test" / "cats" / "again.jpg"
        )
    shutil.move(dog[3], data / "train" / "cats" / "woof.png")
    (data / "train" / "dogs" / "broken.png").write_bytes(b"")
    config = TrainConfig(data, out=tmp_path / "run", cache=feature_cache, max_bad=0.05)
    result = train(config, check_request(config))
    assert result is not None
    page = (result.run / "report.html").read_text()
    assert "since they cannot be read: 1 photo." in page
    pair = f"test/cats/again.jpg as {cat[0].relative_to(data)}"
    assert f"It learned from 1 of the judged photos, the same or nearly, for example {pair}" in page
    assert "Judged on 21 photos, 1 of which it learned from: the figures flatter." in page
    assert "train/cats/woof.png says cats, looks like dogs" in page
    assert "With care" in page


def test_clean_data_leaves_nothing_to_say(drawn_run: Path) -> None:
    page = (drawn_run / "report.html").read_text()
    for sentence in ("cannot be read", "It learned from", "may be wrong: "):
        assert sentence not in page


def test_a_photo_with_two_labels_is_told_of(
    tmp_path: Path, drawn_pets: Path, feature_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "pets"
    shutil.copytree(drawn_pets, data)
    cat = sorted((data / "cats").iterdir())[0]
    for number in range(3):
        shutil.copy(cat, cat.with_name(f"{cat.stem}-{number}{cat.suffix}"))
    shutil.copy(cat, data / "dogs" / "woof.jpg")
    config = TrainConfig(data, out=tmp_path / "run", cache=feature_cache)
    result = train(config, check_request(config))
    assert result is not None
    name = cat.with_name(f"{cat.stem}-0{cat.suffix}").relative_to(data)
    assert f"lie in more than one class, for example {name} = dogs/woof.jpg; " in caplog.text
    page = (result.run / "report.html").read_text()
    assert f"In more than one class: 1 photo, for example {name} and dogs/woof.jpg." in page


def test_copies_across_splits_are_shown_by_two_that_are_in_two(
    tmp_path: Path, make_photos: Callable[..., list[Path]]
) -> None:
    data = tmp_path / "data"
    for split in ("train", "test"):
        for colour, name in enumerate(("cats", "dogs")):
            make_photos(data / split / name, 3, colour=100 * colour + len(split))
    photo = data / "train" / "cats" / "000.png"
    shutil.copy(photo, data / "train" / "cats" / "000-again.png")
    shutil.copy(photo, data / "test" / "cats" / "leak.png")
    config = TrainConfig(data, strict=True)
    dataset = prepare_dataset(check_request(config), config)
    with pytest.raises(DataError, match=r"for example train/cats/000\S* = test/cats/leak.png\."):
        split_dataset(dataset, config)


def test_copies_among_the_judged_photos_are_counted(tmp_path: Path) -> None:
    digests = ["a", "a", "a", "b", "c"]
    members = tuple(Member(tmp_path / f"{i}", i % 2, "test", d) for i, d in enumerate(digests))
    dataset = Dataset(tmp_path, ("cats", "dogs"), ("test",), False, members, (), len(members))
    extractor, head = FeatureExtractor.__new__(FeatureExtractor), Head(np.eye(2), np.zeros(2))
    logits = np.array([[5.0, 0.0], [0.0, 5.0]])[[member.label for member in members]]
    shipped = Candidate(extractor, head, UNCALIBRATED, False, list(members), logits)
    said = list(describe_data(dataset, shipped, ()))
    assert [one for one in said if one.startswith("2 of the judged photos are copies of others")]
