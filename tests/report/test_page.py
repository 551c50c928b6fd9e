from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser
from scipy.stats import fisher_exact

from petclassify.config import Resize
from petclassify.errors import ExitCode, ModelError, UsageError
from petclassify.learn.head.calibration import UNCALIBRATED, Calibration
from petclassify.report.judged import Judged
from petclassify.report.metrics import measure
from petclassify.report.page import Report, refuse_foreign, render_report, write_report
from petclassify.report.verdict import Answer, HeldOut, chance_of_so_few, reach_verdict
from petclassify.runtime.model_info import ModelInfo
from tests.conftest import Outcome

Run = Callable[..., Outcome]
A4_WIDTH = 718  # pixels, without the margins that chromium leaves


def judged(
    hits: int,
    misses: int,
    names: tuple[str, ...] = ("cats", "dogs"),
    unknown: int = 0,
    photo: Path = Path("gone.png"),
) -> Judged:
    """Photos of all classes in turn; the first ones are missed, the last ones unknown."""
    count = hits + misses
    labels = np.arange(count) % len(names)
    said = np.where(np.arange(count) < misses, (labels + 1) % len(names), labels)
    probabilities = np.full((count, len(names)), 0.04 / (len(names) - 1))
    probabilities[np.arange(count), said] = 0.96
    familiarity = np.where(np.arange(count) < count - unknown, 0.95, 0.2)
    return Judged(
        names, (photo,) * count, (photo.name,) * count, labels, probabilities, familiarity, 0.5
    )


def report(photos: Judged, **given: object) -> Report:
    info = ModelInfo(photos.class_names, Resize(64, 64, "bilinear"), 1.0, 0.5, "resnet18")
    return Report(
        **{"title": "pets", "info": info, "judged": photos, "held_out": HeldOut.TEST} | given
    )


class Page(HTMLParser):
    """The text of a page, and what it refers to."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.refers_to: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.refers_to += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words)).replace("\N{NO-BREAK SPACE}", " ")


def page_of(photos: Judged, **given: object) -> Page:
    return Page(render_report(report(photos, command="petclassify", **given)).decode())


def test_the_answer_is_no_for_a_model_that_learned_nothing() -> None:
    verdict = reach_verdict(judged(hits=260, misses=240), HeldOut.TEST, ())
    assert verdict.answer == Answer.NO
    assert "that it has learned anything is not shown" in verdict.cautions[0]


def test_the_answer_is_no_for_photos_that_it_mostly_does_not_know() -> None:
    verdict = reach_verdict(judged(hits=490, misses=10, unknown=260), HeldOut.UNTOLD, ())
    assert verdict.answer == Answer.NO
    assert len(verdict.cautions) == 1
    assert "calls 52.0 % of these photos unknown: they are unlike those" in verdict.cautions[0]


def test_the_answer_is_no_for_photos_most_of_which_it_learned_from() -> None:
    half = reach_verdict(judged(hits=490, misses=10), HeldOut.TEST, (), learned_from=250)
    assert half.answer == Answer.YES
    assert "confidence" not in half.reasons[0]
    most = reach_verdict(judged(hits=490, misses=10), HeldOut.TEST, (), learned_from=251)
    assert most.answer == Answer.NO
    assert "photos that it did not learn from is not shown" in most.cautions[0]


def test_a_few_photos_that_it_learned_from_leave_the_ranges() -> None:
    few = page_of(judged(hits=490, misses=10), learned_from=5).text
    assert "500 photos, 5 of which it learned from: the figures flatter." in few
    assert "Ranges hold" in few
    assert "no ranges are given" in page_of(judged(hits=490, misses=10), learned_from=6).text


def test_the_answer_is_yes_where_nothing_speaks_against_it() -> None:
    verdict = reach_verdict(judged(hits=490, misses=10), HeldOut.TEST, ())
    assert verdict.answer == Answer.YES
    assert not verdict.cautions
    assert "490 of 500 photos" in verdict.reasons[0]
    assert "between 10 and 37 in 1,000" in verdict.reasons[0]


def test_many_photos_without_a_mistake_do_not_show_that_there_is_none() -> None:
    verdict = reach_verdict(judged(hits=10_000, misses=0), HeldOut.TEST, ())
    assert "between 0 and 1 in 1,000" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("photos", "held_out", "findings", "caution"),
    [
        (judged(49, 1), HeldOut.TEST, (), "Only 50 photos were judged"),
        (judged(490, 10), HeldOut.VAL, (), "no test split"),
        (
            judged(490, 10, unknown=60),
            HeldOut.TEST,
            (),
            "12.0 % of these photos unknown",
        ),
        (judged(430, 70), HeldOut.TEST, (), "wrong on 17.3 % of photos"),
        (judged(490, 10), HeldOut.TEST, ("9 photos lie in two splits.",), "9 photos lie"),
    ],
)
def test_what_speaks_against_it_is_said(photos, held_out, findings, caution: str) -> None:
    verdict = reach_verdict(photos, held_out, findings)
    assert verdict.answer == Answer.WITH_CARE
    assert any(caution in one for one in verdict.cautions)


def test_a_class_that_it_does_not_find_is_named() -> None:
    photos = judged(hits=500, misses=0, names=("cats", "dogs", "owls"))
    owls = np.flatnonzero(photos.labels == 2)[:60]
    photos.probabilities[owls] = (0.9, 0.05, 0.05)
    cautions = reach_verdict(photos, HeldOut.TEST, ()).cautions
    assert any("63.9 % of the 166 photos of owls" in caution for caution in cautions)
    assert not any("photos of cats" in caution for caution in cautions)


def test_classes_without_a_mistake_are_not_called_weak() -> None:
    for hits in range(20, 200):
        cautions = reach_verdict(judged(hits=hits, misses=0), HeldOut.TEST, ()).cautions
        assert not any("It finds only" in caution for caution in cautions), hits


def found(cats: int, dogs: int, of: int) -> list[str]:
    """What is said of a model that finds so many of each class."""
    photos = judged(hits=2 * of, misses=0)
    missed = [
        place
        for label, hits in enumerate((cats, dogs))
        for place in np.flatnonzero(photos.labels == label)[: of - hits]
    ]
    photos.probabilities[missed] = np.roll(photos.probabilities[missed], 1, axis=1)
    return [c for c in reach_verdict(photos, HeldOut.TEST, ()).cautions if "It finds only" in c]


def test_a_class_is_called_weak_where_chance_does_not_explain_it() -> None:
    assert not found(cats=12, dogs=11, of=12)
    (said,) = found(cats=98, dogs=80, of=100)
    assert "only 80.0 % of the 100 photos of dogs" in said


def test_equal_classes_are_not_called_weak_by_chance() -> None:
    """40 reports on 40 classes, each found nine times in ten: at most a few name one."""
    generator = np.random.default_rng(0)
    named = 0
    for _ in range(40):
        photos = judged(hits=2000, misses=0, names=tuple(f"kind {n}" for n in range(40)))
        missed = np.flatnonzero(generator.random(2000) < 0.1)
        photos.probabilities[missed] = np.roll(photos.probabilities[missed], 1, axis=1)
        cautions = reach_verdict(photos, HeldOut.TEST, ()).cautions
        named += any("It finds only" in caution for caution in cautions)
    assert named <= 6


def test_a_class_of_one_photo_is_not_called_weak() -> None:
    """With 300 of them, one that is missed among many that are not is no wonder."""
    photos = judged(hits=299, misses=1, names=tuple(f"kind {n}" for n in range(300)))
    cautions = reach_verdict(photos, HeldOut.TEST, ()).cautions
    assert not any("It finds only" in caution for caution in cautions)


def test_the_chance_of_so_few_is_that_of_fishers_exact_test() -> None:
    generator = np.random.default_rng(0)
    for own, others in [(1, 1), (1, 299), (7, 2), (60, 400), (900, 1100)]:
        for share in (0.0, 0.5, 0.98, 1.0):
            groups = [generator.random(count) < share for count in (own, others)]
            table = [[group.sum(), (~group).sum()] for group in groups]
            expected = fisher_exact(table, alternative="less").pvalue
            assert chance_of_so_few(*groups) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_few_photos_are_not_called_badly_calibrated_by_chance() -> None:
    generator = np.random.default_rng(0)
    blamed = 0
    for _ in range(40):
        photos = judged(hits=100, misses=0)
        sure = generator.uniform(0.5, 1, 100)
        photos.probabilities[:] = np.column_stack([sure, 1 - sure])
        photos.labels[:] = generator.random(100) > sure
        cautions = reach_verdict(photos, HeldOut.TEST, ()).cautions
        blamed += any("probabilities are off" in caution for caution in cautions)
    assert blamed <= 6


def test_what_cannot_be_told_is_not_claimed(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(drawn_run / "model.onnx", tmp_path / "alone.onnx"))
    assert petclassify("evaluate", drawn_pets, "--model", model).code == 0
    text = Page(Path("alone-on-pets.html").read_text()).text
    assert "set aside before" not in text
    assert "if it learned from any of them, the figures flatter" in text


def test_a_heat_map_that_cannot_be_drawn_leaves_the_page(tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise ModelError("no map")

    photo = tmp_path / "photo.png"
    Image.new("RGB", (40, 30)).save(photo)
    page = page_of(judged(9, 3, photo=photo), explain=fail)
    assert "cats, called dogs" in page.text
    assert any(where.startswith("data:image/jpeg") for where in page.refers_to)


def test_a_runs_own_report_is_not_replaced(
    petclassify: Run, drawn_run: Path, drawn_pets: Path
) -> None:
    before = (drawn_run / "report.html").read_bytes()
    arguments = ("--model", drawn_run, "--report", drawn_run / "report.html")
    assert petclassify("evaluate", drawn_pets, *arguments).code == ExitCode.USAGE
    assert (drawn_run / "report.html").read_bytes() == before


def test_the_page_fetches_nothing_and_runs_nothing(drawn_run: Path) -> None:
    page = Page((drawn_run / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert all(where.startswith(("data:image/", "#")) for where in page.refers_to)
    assert any(where.startswith("data:image/jpeg") for where in page.refers_to)


def test_names_are_shown_as_text(tmp_path: Path) -> None:
    photo = tmp_path / "<img src=x>\n\udcff.png"
    Image.new("RGB", (40, 30)).save(photo)
    page = page_of(judged(30, 20, names=("<b>cats</b>", "dogs & co"), photo=photo))
    assert "<b>cats</b>" in page.text
    assert "<img src=x>" in page.text
    assert "x" not in page.refers_to


def test_figures_are_there_with_their_ranges_and_counts() -> None:
    text = page_of(judged(490, 10)).text
    assert "98.0 % accuracy 96.4 to 98.9 %" in text
    assert "Judged on 500 photos of the test split" in text
    assert "10 mistakes" in text
    assert "before calibration" in text


def test_what_is_said_of_a_probability_to_answer_from_is_true_of_it_as_printed() -> None:
    """Of an easy set the surest photos all have the most that the doubt leaves."""
    photos = judged(490, 10)
    photos.probabilities[:] = np.where(photos.probabilities > 0.5, 0.99976, 0.00024)
    rows = re.findall(r"[\d.]+ % 0\.\d{4} [\d.]+ %", page_of(photos).text)
    assert rows == ["100.0 % 0.9997 98.00 %"]


def test_of_no_known_photo_no_accuracy_is_drawn() -> None:
    assert "the known photos" in page_of(judged(490, 10)).text
    assert "the known photos" not in page_of(judged(490, 10, unknown=500)).text


@pytest.mark.parametrize("held_out", [HeldOut.TEST, HeldOut.VAL])
def test_calibration_is_said_to_be_of_other_photos_only_where_it_is(held_out: HeldOut) -> None:
    photos = judged(500, 0)
    surer = np.where(photos.probabilities > 0.5, 0.99, 0.01)
    text = page_of(photos, held_out=held_out, uncalibrated=surer).text
    assert "did not help" in text
    assert ("fitted on other photos" in text) == (held_out == HeldOut.TEST)


@pytest.mark.parametrize(("doubt", "told"), [(0.05, True), (0.002, False)])
def test_a_network_that_may_never_be_sure_says_so(doubt: float, told: bool) -> None:
    given = report(judged(490, 10), command="petclassify evaluate later")
    page = render_report(replace(given, info=replace(given.info, doubt=doubt)))
    assert (b"it says 97.50&nbsp;% at most" in page) == told


def test_many_classes_show_the_commonest_confusions() -> None:
    names = tuple(f"kind {number}" for number in range(40))
    text = page_of(judged(780, 20, names)).text
    assert "What it takes for what, most often" in text
    assert "kind 0 kind 1 1" in text


def test_a_photo_that_has_gone_keeps_its_figures() -> None:
    text = page_of(judged(9, 3)).text
    assert "the photo has gone" in text
    assert "cats, called dogs, 96.00 %" in text


def test_only_a_page_of_ours_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("<html>mine</html>")
    with pytest.raises(UsageError, match="Name another"):
        refuse_foreign(path)
    path.unlink()
    refuse_foreign(path)
    write_report(report(judged(9, 3), command="first"), path)
    refuse_foreign(path)
    write_report(report(judged(9, 3), command="second"), path)
    assert "second" in path.read_text()


def test_evaluate_makes_a_page_with_its_command(
    petclassify: Run, drawn_run: Path, drawn_pets: Path
) -> None:
    done = petclassify("evaluate", drawn_pets, "--model", drawn_run)
    assert done.code == 0, done.err
    assert "report  run-on-pets.html" in done.out
    page = Page(Path("run-on-pets.html").read_text())
    assert f"petclassify evaluate {drawn_pets} --model {drawn_run}" in page.text
    assert "Judged on 60 photos" in page.text
    assert any(where.startswith("data:image/png") for where in page.refers_to)


def test_evaluate_does_not_start_where_the_page_cannot_be_written(
    petclassify: Run, drawn_run: Path, drawn_pets: Path
) -> None:
    Path("notes.html").write_text("mine")
    arguments = ("evaluate", drawn_pets, "--model", drawn_run, "--report")
    done = petclassify(*arguments, "notes.html")
    assert done.code == ExitCode.USAGE
    assert "accuracy" not in done.out
    assert petclassify(*arguments, "no/such/folder.html").code == ExitCode.ENVIRONMENT


def test_a_model_moved_away_from_its_run_is_judged_without_curves(
    petclassify: Run, drawn_run: Path, drawn_pets: Path
) -> None:
    shutil.copy(drawn_run / "model.onnx", "moved.onnx")
    assert petclassify("evaluate", drawn_pets, "--model", "moved.onnx").code == 0
    page = Page(Path("moved-on-pets.html").read_text())
    assert not any(where.startswith("data:image/png") for where in page.refers_to)


def test_the_page_is_of_the_model_that_was_judged(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that ends meanwhile moves models/latest."""
    from petclassify.report import evaluate as module

    judge, latest = module.evaluate, Path("models/latest")
    latest.parent.mkdir()
    latest.symlink_to(drawn_run)

    def judge_and_move(*given: Path) -> module.Evaluation:
        found = judge(*given)
        latest.unlink()
        latest.symlink_to("the next")
        return found

    monkeypatch.setattr(module, "evaluate", judge_and_move)
    done = petclassify("evaluate", drawn_pets)
    assert done.code == 0, done.err
    assert f"{drawn_run.name} on {drawn_pets.name}" in Path("run-on-pets.html").read_text()


@pytest.mark.parametrize(
    ("fitted_on", "told"),
    [
        ("train and val", "trained on train: cats 3, dogs 4; val: cats 1"),
        ("train", "dogs 4 layers"),
    ],
)
def test_the_photos_that_it_was_fitted_on_are_all_told(fitted_on: str, told: str) -> None:
    photos = judged(9, 3)
    counts = {"train": {"cats": 3, "dogs": 4}, "val": {"cats": 1}, "test": {"cats": 9}}
    training = {"photos": counts, "fitted_on": fitted_on, "unfreeze": "none"}
    info = replace(report(photos, command="").info, training=training)
    assert told in page_of(photos, info=info).text


def test_what_was_said_before_calibration_is_not_guessed_where_it_is_known() -> None:
    """Of probabilities that were sharpened nothing tells how small the small ones were."""
    classes, count = 300, 600
    labels = np.arange(count) % classes
    logits = np.random.default_rng(0).normal(size=(count, classes))
    logits[np.arange(count), labels] += 12
    calibrated = Calibration(0.2, 1e-3).probabilities(logits)
    before = UNCALIBRATED.probabilities(logits)
    names = tuple(map(str, range(classes)))
    photos = replace(judged(count, 0, names), labels=labels, probabilities=calibrated)
    info = replace(report(photos, command="").info, temperature=0.2, doubt=1e-3)
    told = measure(before, labels, names)
    row = f"before calibration {told.log_loss:.4f} {told.ece:.4f}"
    assert row in page_of(photos, info=info, uncalibrated=before).text
    assert row not in page_of(photos, info=info).text


def test_on_paper_nothing_of_a_run_s_report_is_cut_off(browser: Browser, drawn_run: Path) -> None:
    page = browser.new_page(viewport={"width": A4_WIDTH, "height": 1000})
    page.emulate_media(media="print")
    page.goto((drawn_run / "report.html").as_uri())
    assert page.locator("img").count() > 1
    assert page.evaluate("[...document.images].every((image) => image.complete)")
    cut = """() => [...document.querySelectorAll("html, .wide, pre")]
        .filter((box) => box.scrollWidth > box.clientWidth)
        .map((box) => [box.scrollWidth, box.clientWidth, box.textContent.trim()])"""
    assert page.evaluate(cut) == []
    page.close()


def test_a_report_without_a_command_shows_no_empty_box() -> None:
    photos = judged(490, 10)
    assert "pre" in page_of(photos).tags
    assert "pre" not in Page(render_report(report(photos, command="")).decode()).tags
