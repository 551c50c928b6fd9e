from __future__ import annotations

import base64
import io
from pathlib import Path

import jinja2
import pytest
from PIL import Image

from petclassify.report import html


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Render a page of one template that shows `name`."""
    (tmp_path / "one.html").write_text(
        '{% extends "base.html" %}{% block title %}{{ name }}{% endblock %}'
        "{% block content %}<p>{{ name }}</p>{% endblock %}"
    )
    ours = jinja2.PackageLoader("petclassify.report")
    both = jinja2.ChoiceLoader([jinja2.FileSystemLoader(tmp_path), ours])
    monkeypatch.setattr("jinja2.PackageLoader", lambda _: both)
    return lambda name: html.render_page("one.html", name=name).decode()


def test_a_name_is_text_and_never_markup(page) -> None:
    shown = page("<script>alert(1)</script>")
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_control_characters_and_broken_bytes_are_made_visible(page) -> None:
    assert r"a\nb\u202ec" in page("a\nb\u202ec")
    assert "a\N{REPLACEMENT CHARACTER}b 😺" in page("a\udcffb 😺")


def test_a_page_fetches_nothing_and_names_its_maker(page) -> None:
    shown = page("x")
    assert '<meta name="generator" content="petclassify ' in shown
    assert not any(sign in shown for sign in ("http:", "https:", "<script", "<link", "@import"))


def test_a_value_that_was_forgotten_is_an_error(page) -> None:
    with pytest.raises(jinja2.UndefinedError):
        html.render_page("one.html")


def test_a_picture_is_embedded_small_and_upright_as_it_was() -> None:
    uri = html.picture_uri(Image.new("RGB", (900, 300), "tan"), 200)
    assert uri.startswith("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as small:
        assert small.size == (200, 67)
