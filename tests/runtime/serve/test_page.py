"""The page in a real browser: the chromium of this machine, driven by playwright."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from petclassify.runtime.classifier import Classifier
from petclassify.runtime.serve.service import Service
from tests.runtime.serve.conftest import SHIPPED, Client, model_saying

Start = Callable[[Service], Client]

FAILED_REQUEST = "Failed to load resource"
HAND_OVER = """([kind, files]) => {
    const transfer = new DataTransfer();
    for (const { name, content } of files) {
        const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
        transfer.items.add(new File([bytes], name));
    }
    const options = { bubbles: true, cancelable: true };
    document.getElementById("intake").dispatchEvent(
        kind === "paste"
            ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
            : new DragEvent("drop", { ...options, dataTransfer: transfer }),
    );
}"""


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a server's page; at the end nothing in it has failed, nor left the server."""
    contexts = []
    faults: list[str] = []

    def open_at(client: Client, **options: object) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        origin = f"http://127.0.0.1:{client.port}/"

        def check(url: str) -> None:
            if not url.startswith((origin, f"blob:{origin}")):
                faults.append(f"a request to {url}")

        page.on("request", lambda request: check(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            # The browser notes every photo that is refused, as a failed request.
            lambda said: None if FAILED_REQUEST in said.text else faults.append(said.text),
        )
        page.on("filechooser", lambda _: None)  # asked for early, none is shown unseen
        page.goto(origin)
        expect(page.locator("#about")).to_contain_text("This model tells")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert not faults


def hand_over(page: Page, files: dict[str, bytes], kind: str = "drop") -> None:
    """Drop or paste files."""
    encoded = [
        {"name": name, "content": base64.b64encode(content).decode()}
        for name, content in files.items()
    ]
    page.evaluate(HAND_OVER, [kind, encoded])


def test_a_dropped_photo_is_named(
    server: Client, open_page: Callable[..., Page], catsdogs: Path
) -> None:
    page = open_page(server)
    cat = next(iter(sorted((catsdogs / "test" / "cats").iterdir())))
    hand_over(page, {"my cat.jpg": cat.read_bytes()})
    card = page.locator(".card")
    expect(card.locator(".label")).to_have_text("cats")
    expect(card.locator(".probability")).to_contain_text("%")
    expect(card.locator(".bars li")).to_have_count(2)
    expect(card.locator(".name")).to_have_text("my cat.jpg")
    expect(page.locator("#summary")).to_have_text("1 photo: cats")
    expect(page.get_by_role("status")).to_have_text("1 photo: cats")
    width = card.locator(".fill").first.evaluate("fill => fill.getBoundingClientRect().width")
    assert width > 100
    assert card.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")


def test_unknown_photos_and_bad_files_say_so(
    server: Client, open_page: Callable[..., Page], photo: bytes
) -> None:
    page = open_page(server)
    hand_over(page, {"noise.jpg": photo, "text.jpg": b"text"}, "paste")
    unknown, failed = page.locator(".card").all()
    expect(unknown.locator(".label")).to_have_text("unknown")
    expect(unknown.locator(".remark")).to_contain_text("Closest: ")
    expect(failed.locator(".label")).to_have_text("Not classified")
    expect(failed.locator(".remark")).to_have_text("Not an image in a known format.")
    expect(failed.locator(".no-preview")).to_be_visible()
    expect(page.locator("#summary")).to_have_text("2 photos: unknown 1, not classified 1")


@pytest.mark.parametrize(("beyond", "verdict"), [(1e-6, "unknown"), (-1e-6, "cats")])
def test_a_familiarity_close_to_the_threshold_agrees_with_the_verdict(
    start_server: Start,
    open_page: Callable[..., Page],
    catsdogs: Path,
    tmp_path: Path,
    beyond: float,
    verdict: str,
) -> None:
    cat = min((catsdogs / "test" / "cats").iterdir())
    threshold = Classifier.load(SHIPPED).predict(cat).familiarity + beyond
    model = model_saying(tmp_path / "model.onnx", known_threshold=threshold)
    page = open_page(start_server(Service(model)))
    hand_over(page, {"cat.jpg": cat.read_bytes()})
    expect(page.locator(".card .label")).to_have_text(verdict)
    shown = page.locator(".card .familiarity").text_content() or ""
    found = re.fullmatch(r"Familiarity (\d+\.\d)\s% \(known from (\d+\.\d)\s% on\)", shown)
    assert found is not None
    assert (float(found[1]) >= float(found[2])) == (verdict == "cats")


def test_names_are_text(server: Client, open_page: Callable[..., Page], photo: bytes) -> None:
    page = open_page(server)
    name = '<img src=x onerror="document.title=1">\n"quoted" \N{CAT FACE}.jpg'
    hand_over(page, {name: photo})
    expect(page.locator(".label")).to_have_text("unknown")
    assert page.locator(".name").evaluate("element => element.textContent") == name
    assert page.locator(".card img").count() == 1
    assert page.title() == "petclassify: catsdogs"


def test_a_file_over_the_limit_is_not_even_sent(
    server: Client, open_page: Callable[..., Page], photo: bytes, tmp_path: Path
) -> None:
    page = open_page(server)
    large = tmp_path / "large.jpg"
    large.write_bytes(photo + bytes(11 * 2**20))
    page.locator("#files").set_input_files(large)
    expect(page.locator(".remark")).to_have_text(
        "Larger than the limit of 10 MiB: send a smaller copy."
    )


def test_a_hundred_photos_at_once(
    server: Client, open_page: Callable[..., Page], photo: bytes
) -> None:
    page = open_page(server)
    hand_over(page, {f"{number}.jpg": photo for number in range(100)})
    expect(page.locator("#summary")).to_have_text("100 photos: unknown 100")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".card")).to_have_count(0)
    expect(page.locator("#choose")).to_be_focused()


def test_everything_works_from_the_keyboard(
    server: Client, open_page: Callable[..., Page], photo: bytes, tmp_path: Path
) -> None:
    page = open_page(server)
    page.keyboard.press("Tab")
    expect(page.locator("#choose")).to_be_focused()
    with page.expect_file_chooser() as chosen:
        page.keyboard.press("Enter")
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    chosen.value.set_files(path)
    look = page.get_by_role("button", name="Where it looked")
    expect(look).to_be_visible()
    for _ in range(2):  # past Clear
        page.keyboard.press("Tab")
    expect(look).to_be_focused()
    shown = page.locator(".card img").get_attribute("src")
    page.keyboard.press("Space")
    expect(look).to_have_attribute("aria-pressed", "true")
    heat = page.locator(".card img")
    assert heat.get_attribute("src") != shown
    assert heat.evaluate("image => image.decode().then(() => image.naturalWidth)")
    expect(look).to_be_focused()
    page.keyboard.press("Enter")
    expect(look).to_have_attribute("aria-pressed", "false")
    assert heat.get_attribute("src") == shown


def test_a_phone_gets_its_camera_and_no_sideways_scrolling(
    server: Client, open_page: Callable[..., Page], photo: bytes
) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    page = open_page(server, **phone)
    with page.expect_file_chooser():
        page.get_by_role("button", name="Take a photo").tap()
    assert page.locator("#camera").get_attribute("capture") == "environment"
    hand_over(page, {f"{'a-very-long-name-' * 9}.jpg": photo})
    expect(page.locator(".label")).to_have_text("unknown")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44


def test_a_server_that_is_gone_is_said_and_may_be_tried_again(
    start_server: Start, open_page: Callable[..., Page], photo: bytes
) -> None:
    page = open_page(start_server(Service(SHIPPED)))
    page.route("**/predict", lambda route: route.abort())
    hand_over(page, {"photo.jpg": photo})
    expect(page.locator(".remark")).to_have_text("The server cannot be reached.")
    page.unroute("**/predict")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".label")).to_have_text("unknown")
    expect(page.locator("#summary")).to_have_text("1 photo: unknown")
