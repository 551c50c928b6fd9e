from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image, ImageOps

from petclassify.config import TrainConfig
from petclassify.images.drawn_pets import draw_pets
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
    pair = f"{cat[0].relative_to(data)} and test/cats/again.jpg"
    assert (
        f"In more than one split, the same or nearly: 1 held-out photo, for example {pair}" in page
    )
    assert "train/cats/woof.png says cats, looks like dogs" in page
    assert "With care" in page


def test_clean_data_leaves_nothing_to_say(drawn_run: Path) -> None:
    page = (drawn_run / "report.html").read_text()
    for sentence in ("cannot be read", "more than one split", "Probably wrong"):
        assert sentence not in page
