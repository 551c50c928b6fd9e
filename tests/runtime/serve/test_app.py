from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from petclassify import Classifier
from petclassify.errors import EnvironmentFault
from petclassify.runtime.serve.service import Service, model_name
from tests.conftest import Outcome
from tests.runtime.serve.conftest import SHIPPED, Client, encoded

Start = Callable[[Service], Client]


def png_head(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 64)
    chunks = [
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_the_server_says_what_predict_says(
    server: Client, petclassify: Callable[..., Outcome], photo: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    said = petclassify("predict", path, "--model", SHIPPED, "--format", "jsonl").out
    row = json.loads(said)
    assert row.pop("path") == str(path)
    one = server.ask("/predict", photo)
    assert one.status == 200
    assert one.json["label"] == row["label"]
    assert one.json.keys() == row.keys()
    assert one.json["probabilities"] == pytest.approx(row["probabilities"], abs=1e-5)
    (of_parts,) = server.send_parts((b"photo.jpg", photo)).json["predictions"]
    assert of_parts == {"name": "photo.jpg", **one.json}


def test_real_photos_are_named(server: Client, catsdogs: Path) -> None:
    for name in ("cats", "dogs"):
        photos = sorted((catsdogs / "test" / name).iterdir())[:8]
        answer = server.send_parts(*((b"x", path.read_bytes()) for path in photos))
        labels = [one["label"] for one in answer.json["predictions"]]
        assert labels.count(name) >= 7


def test_parts_fail_one_by_one(server: Client, photo: bytes) -> None:
    answer = server.send_parts((b"good.jpg", photo), (b"bad.jpg", b"text"), (b"none.jpg", b""))
    assert answer.status == 200
    good, bad, none = answer.json["predictions"]
    assert "label" in good
    assert bad == {
        "name": "bad.jpg",
        "error": {"kind": "not_an_image", "message": "not an image in a known format"},
    }
    assert none["error"]["kind"] == "empty"


def test_parts_that_all_fail_have_the_status_of_the_first(server: Client) -> None:
    assert server.send_parts((b"a", b""), (b"b", b"text")).status == 422
    assert server.send_parts((b"b", b"text"), (b"a", b"")).status == 415


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a\xf0\x9f\x90\xb1.jpg", "a\N{CAT FACE}.jpg"),
        (b"<script>alert(1)</script>.jpg", "<script>alert(1)</script>.jpg"),
        (b"broken-\xff.jpg", "broken-\udcff.jpg"),
        (b"tab\there.jpg", "tab\there.jpg"),
        (b'quote\\".jpg', 'quote".jpg'),
        (b"../../etc/passwd", "../../etc/passwd"),
        (b"", ""),
    ],
)
@pytest.mark.attack("Server")
def test_odd_file_names_survive(server: Client, photo: bytes, name: bytes, shown: str) -> None:
    answer = server.send_parts((name, photo))
    assert answer.status == 200
    assert answer.json["predictions"][0]["name"] == shown
    assert answer.body.isascii()


@pytest.mark.attack("Server")
@pytest.mark.parametrize("path", ["/predict", "/explain", "/v2/models/catsdogs/infer"])
def test_a_compressed_body_is_refused_for_that(server: Client, photo: bytes, path: str) -> None:
    answer = server.ask(path, gzip.compress(photo), content_encoding="gzip")
    assert answer.status == 415
    assert b"gzip; send it without" in answer.body
    assert server.ask("/predict", photo, content_encoding="Identity").status == 200
    assert server.ask("/predict", photo, content_encoding="").status == 200


def test_parts_where_one_photo_is_expected_are_named(server: Client, photo: bytes) -> None:
    body = b"--x\r\n\r\n" + photo + b"\r\n--x--\r\n"
    answer = server.ask("/explain", body, content_type="multipart/form-data; boundary=x")
    assert answer.status == 415
    assert "without parts" in answer.json["error"]["message"]
    form = server.ask("/explain", b"@photo.jpg", content_type="application/x-www-form-urlencoded")
    assert "--data-binary" in form.json["error"]["message"]


@pytest.mark.attack("Server")
def test_each_bad_image_has_its_status(server: Client, photo: bytes) -> None:
    strip = encoded(Image.new("L", (2, 1000)))
    bad = {
        "empty": (b"", 422),
        "not_an_image": (b"GIF? no", 415),
        "damaged": (photo[:5000], 422),
        "too_large": (png_head(50_000, 50_000), 422),
        "too_narrow": (strip, 422),
    }
    for kind, (body, status) in bad.items():
        answer = server.ask("/predict", body)
        assert (answer.status, answer.json["error"]["kind"]) == (status, kind)
    assert server.ask("/predict", pickle.dumps(Path("x"))).status == 415


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=limit", b""),
        ("multipart/form-data; boundary=limit", b"--limit--\r\n"),
        ("multipart/form-data; boundary=limit", b"no boundary at all"),
        ("multipart/form-data; boundary=limit", b"--limit\r\nContent-Disposition: form-data"),
        (
            "multipart/form-data; boundary=limit",
            b"--limit\r\n\x00\x01: x\r\n\r\nhello\r\n--limit--",
        ),
        ("multipart/form-data; boundary=" + "x" * 5000, b"x"),
    ],
)
@pytest.mark.attack("Server")
def test_broken_multipart_is_refused(server: Client, content_type: str, body: bytes) -> None:
    answer = server.ask("/predict", body, content_type=content_type)
    assert (answer.status, answer.json["error"]["kind"]) == (400, "broken_multipart")


@pytest.mark.attack("Server")
def test_too_many_parts_are_refused(server: Client) -> None:
    answer = server.send_parts(*[(b"x", b"")] * 65)
    assert (answer.status, answer.json["error"]["kind"]) == (413, "too_many_photos")


@pytest.mark.attack("Server")
def test_unknown_paths_and_methods_are_refused_in_json(server: Client) -> None:
    for path in (
        "/nothing",
        "/predict/",
        "/../../etc/passwd",
        "/%2e%2e/style.css",
        "/page/index.html",
    ):
        answer = server.ask(path)
        assert (answer.status, answer.json["error"]["kind"]) == (404, "not_found"), path
        assert "/openapi.json" in answer.json["error"]["message"]
    refused = server.ask("/predict")
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    assert refused.json["error"]["message"] == "/predict takes POST"
    for method in ("OPTIONS", "DELETE", "TRACE"):
        assert server.ask("/predict", method=method).status == 405
    head = server.ask("/", method="HEAD")
    assert (head.status, head.body) == (200, b"")


def test_a_photo_that_curl_spoilt_says_how_to_send_it(server: Client, photo: bytes) -> None:
    spoilt = photo.replace(b"\n", b"").replace(b"\r", b"")[:200]
    for body, status in ((spoilt, 422), (b"photo.jpg", 415)):  # curl -d @FILE; --data-binary FILE
        answer = server.ask("/predict", body, content_type="application/x-www-form-urlencoded")
        assert answer.status == status
        assert "--data-binary @FILE" in answer.json["error"]["message"]


def test_the_model_describes_itself(server: Client) -> None:
    said = server.ask("/model").json
    info = Classifier.load(SHIPPED).info
    assert said["name"] == "catsdogs"
    assert said["class_names"] == list(info.class_names)
    assert said["known_threshold"] == info.known_threshold
    assert said["limits"] == {"body_bytes": 10 * 2**20, "photos_per_request": 64}


def test_a_model_is_called_by_its_file_or_its_folder(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    assert model_name(tmp_path / "pets") == "pets"
    assert model_name(tmp_path / "pets" / "model.onnx") == "pets"
    assert model_name(Path("models/catsdogs.onnx")) == "catsdogs"


def test_metrics_count_what_happened(server: Client, photo: bytes) -> None:
    def read() -> dict[tuple[str, str], float]:
        text = server.ask("/metrics").body.decode()
        return {
            (
                sample.name,
                sample.labels.get("outcome", sample.labels.get("status", "")),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.labels.get("route", "/predict") == "/predict"
        }

    before = read()
    server.ask("/predict", photo)
    server.ask("/predict", b"text")
    after = read()
    for key in [
        ("petclassify_requests_total", "200"),
        ("petclassify_requests_total", "415"),
        ("petclassify_photos_total", "not_an_image"),
    ]:
        assert after[key] == before.get(key, 0) + 1
    assert after["petclassify_held_bytes", ""] == 0
    assert after["petclassify_waiting_photos", ""] == 0


def test_a_photo_is_explained(server: Client, photo: bytes) -> None:
    assert server.ask("/model").json["explains"] is True
    answer = server.ask("/explain", photo)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(answer.body)) as overlay, Image.open(io.BytesIO(photo)) as given:
        assert overlay.size == given.size
        assert overlay.tobytes() != given.tobytes()
    refused = server.ask("/explain", b"text")
    assert (refused.status, refused.json["error"]["kind"]) == (415, "not_an_image")


def test_a_model_that_cannot_explain_says_so(start_server: Start, photo: bytes) -> None:
    service = Service(SHIPPED)
    service.explains = False
    client = start_server(service)
    assert client.ask("/model").json["explains"] is False
    answer = client.ask("/explain", photo)
    assert (answer.status, answer.json["error"]["kind"]) == (404, "no_heat_map")


def test_a_stopping_server_is_alive_but_not_ready(start_server: Start) -> None:
    service = Service(SHIPPED)
    client = start_server(service)
    assert client.ask("/readyz").status == 200
    service.stopping = True
    assert client.ask("/readyz").status == 503
    assert client.ask("/v2/health/ready").status == 503
    assert client.ask("/livez").status == 200


def test_too_little_memory_is_a_503_with_the_reason(
    start_server: Start, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(SHIPPED)
    client = start_server(service)

    def full(*_: object) -> None:
        raise EnvironmentFault("the memory is too small")

    monkeypatch.setattr(service.classifier, "run", full)
    answer = client.ask("/predict", photo)
    assert (answer.status, answer.json["error"]["message"]) == (503, "the memory is too small")
    assert "retry-after" in answer.headers


def test_a_bug_is_a_500_and_the_server_lives(
    start_server: Start,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service(SHIPPED)
    client = start_server(service)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    with monkeypatch.context() as patch:
        patch.setattr(service.classifier, "pixels", broken)
        answer = client.ask("/predict", photo)
    assert (answer.status, answer.json["error"]["kind"]) == (500, "bug")
    assert "oops" not in answer.body.decode()
    deadline = time.monotonic() + 10
    while "bug in petclassify: ZeroDivisionError: oops" not in caplog.text:
        assert time.monotonic() < deadline  # the answer is sent before the reason is logged
        time.sleep(0.01)
    assert client.ask("/predict", photo).status == 200


def test_serving_never_loads_torch() -> None:
    check = "import sys, petclassify.runtime.serve.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
