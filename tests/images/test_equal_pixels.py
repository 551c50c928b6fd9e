"""One picture is one prediction, however its file is written and whichever way it comes in.

The files of EXACT hold the same pixels, so that everything after the decoder gets the same
bytes. Those of NEARLY are compressed anew with losses. The ways in are training's decoder,
`predict`, the standalone graph, and HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from petclassify import Classifier
from petclassify.images.digests import digest_file
from petclassify.images.drawn_pets import draw_pets
from petclassify.images.photo import read_image, read_pixels
from petclassify.images.rgb import BAND_PIXELS, to_rgb
from petclassify.learn.data.ahead import decoded_ahead
from petclassify.learn.export.standalone import to_standalone
from petclassify.runtime.serve.service import Service
from tests.images.hostile import encoded, turned
from tests.reliability import Attacks
from tests.runtime.serve.conftest import SHIPPED, Client, start_server  # noqa: F401  # a fixture

pytestmark = pytest.mark.attack("Equal pixels")

REAL_WITHIN = 0.01  # the same, of real photos
NEARLY_WITHIN = 0.05  # of a probability: JPEG blocks lie elsewhere, or CMYK rounds
STANDALONE_WITHIN = 0.01  # as its export is held to
HTTP_WITHIN = 1e-6  # JSON keeps all digits

_AS_STORED = {  # by the camera that says so
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def as_stored(photo: Image.Image, orientation: int) -> Image.Image:
    """The pixels that a camera held so would store."""
    return photo.transpose(_AS_STORED[orientation]) if orientation in _AS_STORED else photo


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Image.Image:
    """A drawn pet in 200 colours, wider than high, of which the shipped model is sure."""
    folder = tmp_path_factory.mktemp("pet") / "pets"
    draw_pets(folder, count=8, seed=1)
    drawn = read_image(folder / "cats" / "cat-0004.jpg").resize((300, 240))
    return drawn.quantize(200, dither=Image.Dither.NONE).convert("RGB")


def exact(photo: Image.Image) -> dict[str, list[bytes]]:
    """Files of equal pixels, in groups."""
    grey = photo.convert("L")
    wide = np.asarray(grey).astype(np.uint16) * 257
    opaque = photo.copy()
    opaque.putalpha(255)
    jpeg = {"quality": 90, "subsampling": 0}
    return {
        "colour": [
            encoded(as_stored(photo, n), kind, exif=turned(n), **options)
            for kind, options in (
                ("PNG", {}),
                ("TIFF", {}),
                ("TIFF", {"compression": "tiff_lzw"}),
                ("WEBP", {"lossless": True}),
            )
            for n in range(1, 9)
        ]
        + [
            encoded(photo.quantize(256), "PNG"),
            encoded(photo.quantize(256), "GIF"),
            encoded(photo.quantize(256), "BMP"),
            encoded(opaque, "PNG"),
            encoded(opaque, "TGA"),
            encoded(photo, "PPM"),
        ],
        "grey": [
            encoded(grey, "PNG"),
            encoded(grey.convert("RGB"), "PNG"),
            encoded(grey.convert("LA"), "PNG"),
            encoded(Image.fromarray(wide), "PNG"),
            encoded(Image.fromarray(wide), "TIFF"),
            encoded(Image.fromarray(wide.astype(np.int32)), "TIFF"),
            encoded(Image.fromarray(np.asarray(grey).astype(np.float32)), "TIFF"),
        ],
        "JPEG": [
            encoded(photo, "JPEG", **jpeg),
            encoded(photo, "JPEG", progressive=True, **jpeg),
            encoded(photo, "JPEG", optimize=True, **jpeg),
            encoded(photo, "JPEG", restart_marker_rows=1, **jpeg),
        ],
    }


def nearly(photo: Image.Image) -> list[bytes]:
    """Files of the same picture, with losses."""
    kept = {"quality": 95, "subsampling": 0}
    return [
        *(encoded(as_stored(photo, n), "JPEG", exif=turned(n), **kept) for n in range(1, 9)),
        *(encoded(as_stored(photo, n), "AVIF", exif=turned(n), quality=95) for n in (1, 6)),
        encoded(photo.convert("CMYK"), "JPEG", **kept),
        encoded(photo.convert("CMYK"), "TIFF"),
        encoded(photo.convert("YCbCr"), "TIFF", compression="jpeg", quality=95),
        encoded(photo, "WEBP", quality=98),
    ]


def test_files_of_equal_pixels_give_the_network_equal_bytes(
    photo: Image.Image, attack: Attacks
) -> None:
    resize = Classifier.load(SHIPPED).info.preprocessing
    for group, files in exact(photo).items():
        first, *others = (read_pixels(content, resize) for content in files)
        for number, pixels in enumerate(others, start=1):
            with attack(f"{group} {number}", under="files"):
                np.testing.assert_array_equal(pixels, first, err_msg=f"{group} {number}")


def test_one_picture_is_one_prediction_on_every_way_in(
    photo: Image.Image,
    tmp_path: Path,
    start_server: Callable[[Service], Client],  # noqa: F811
    attack: Attacks,
) -> None:
    classifier = Classifier.load(SHIPPED)
    resize = classifier.info.preprocessing
    graph = to_standalone(onnx.load(SHIPPED), resize).SerializeToString()
    standalone = onnxruntime.InferenceSession(graph)
    client = start_server(Service(SHIPPED))
    plain = classifier.predict(encoded(photo, "PNG"))
    expected = np.array([*plain.probabilities.values()])
    colour = exact(photo)["colour"]
    tolerances = dict.fromkeys([*colour[:8], *colour[-6:]], 0.0)  # PNG in all turns, and others
    tolerances |= dict.fromkeys(nearly(photo), NEARLY_WITHIN)
    for number, (content, within) in enumerate(tolerances.items()):
        path = tmp_path / f"{number}.img"
        path.write_bytes(content)
        predicted = np.array([*classifier.predict(path).probabilities.values()])
        with attack(path.name, under="ways in"):
            assert np.abs(predicted - expected).max() <= within, number

        with attack(path.name, under="ways in"):
            ((_, pixels),) = decoded_ahead([(digest_of(path), path)], resize, limit=1)
            assert isinstance(pixels, np.ndarray)
            np.testing.assert_array_equal(pixels, classifier.pixels(path))

        with attack(path.name, under="ways in"):
            probabilities, _ = standalone.run(None, {"image": np.asarray(read_image(path))})
            assert np.abs(probabilities - predicted).max() <= STANDALONE_WITHIN, number

        with attack(path.name, under="ways in"):
            answer = client.ask("/predict", content).json
            assert [*answer["probabilities"].values()] == pytest.approx(predicted, abs=HTTP_WITHIN)


def test_real_photos_with_losses_keep_their_predictions(catsdogs: Path, attack: Attacks) -> None:
    classifier = Classifier.load(SHIPPED)
    for path in sorted((catsdogs / "test").rglob("*.jpg"))[::500]:
        photo = read_image(path).resize((300, 240))
        expected = [*classifier.predict(photo).probabilities.values()]
        for content in nearly(photo):
            with attack(path.name, under="files"):
                found = [*classifier.predict(content).probabilities.values()]
                assert found == pytest.approx(expected, abs=REAL_WITHIN)


def digest_of(path: Path) -> str:
    """As the frozen pass names the photo."""
    digest = digest_file(path)
    assert isinstance(digest, str)
    return digest


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "CMYK", "1", "I;16", "I", "F"])
def test_a_photo_of_many_bands_is_converted_as_one_of_a_single_band(
    photo: Image.Image, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(240 * 300, dtype=np.uint32).reshape(240, 300) * 7 % 65536
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    image = Image.fromarray(values.astype(deep[mode])) if mode in deep else photo.convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(photo.getchannel(0))
    assert image.width * image.height < BAND_PIXELS
    whole = np.asarray(to_rgb(image))
    monkeypatch.setattr("petclassify.images.rgb.BAND_PIXELS", 7 * 300)
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), whole)
