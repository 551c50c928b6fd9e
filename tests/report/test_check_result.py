from __future__ import annotations

from pathlib import Path

from petclassify.images.findings import CopyGroup, FileCheck, Photo, Unreadable
from petclassify.report.check_kinds import kinds_of
from petclassify.report.check_page import render_check
from petclassify.report.check_result import CheckResult, LabelCheck, LabelFinding, Stray


def photo(name: str, side: int = 100) -> Photo:
    split, class_name, _ = name.split("/")
    return Photo(name, class_name, split, name, (side, side))


def result_of(
    *copies: CopyGroup,
    unreadable: tuple[Unreadable, ...] = (),
    labels: LabelCheck | None = None,
    class_names: tuple[str, ...] = ("cats", "dogs"),
) -> CheckResult:
    photos = tuple(photo for group in copies for photo in group.photos)
    groups = tuple(photo.digest for photo in photos)
    files = FileCheck(photos, groups, unreadable, copies, (), (), ())
    return CheckResult(Path("data"), class_names, False, "resnet18", files, labels, ())


def judged(*findings: LabelFinding) -> LabelCheck:
    return LabelCheck(findings, (), 0.99, {})


def left_out(result: CheckResult) -> list[str]:
    return [name for name, _ in result.exclusions()]


def test_of_copies_the_one_in_test_stays_then_the_largest() -> None:
    group = CopyGroup((photo("train/cats/a"), photo("val/cats/b"), photo("test/cats/c")), 1.0)
    assert left_out(result_of(group)) == ["train/cats/a", "val/cats/b"]
    group = CopyGroup((photo("train/cats/a", 50), photo("train/cats/b", 200)), 0.999)
    assert left_out(result_of(group)) == ["train/cats/a"]


def test_of_copies_of_one_size_the_original_stays() -> None:
    group = CopyGroup((photo("train/cats/a copy.jpg"), photo("train/cats/a.jpg")), 1.0)
    assert left_out(result_of(group)) == ["train/cats/a copy.jpg"]


def test_a_photo_in_two_classes_is_left_out_unless_one_label_is_probably_wrong() -> None:
    group = CopyGroup((photo("train/cats/a"), photo("train/dogs/b")), 1.0)
    reason = "the same photo lies in cats and dogs"
    unsure = judged(LabelFinding("train/cats/a", "cats", "dogs", 0.93, sure=False))
    for labels in (None, unsure):
        rows = result_of(group, labels=labels).exclusions()
        assert rows == [("train/cats/a", reason), ("train/dogs/b", reason)]
    wrong = judged(LabelFinding("train/cats/a", "cats", "dogs", 0.99, sure=True))
    assert left_out(result_of(group, labels=wrong)) == ["train/cats/a"]


def test_the_list_holds_what_is_sure_once_with_all_reasons() -> None:
    labels = LabelCheck(
        (
            LabelFinding("train/cats/a", "cats", "dogs", 0.98, sure=True),
            LabelFinding("train/cats/x", "cats", "dogs", 0.6, sure=False),
        ),
        (Stray("train/cats/a", "cats", 0.1, sure=True), Stray("train/dogs/y", "dogs", 0.3, False)),
        0.99,
        {},
    )
    broken = Unreadable("test/dogs/z", "empty", "the file is empty")
    rows = result_of(labels=labels, unreadable=(broken,)).exclusions()
    assert rows == [
        ("test/dogs/z", "unreadable: the file is empty"),
        ("train/cats/a", "says cats, looks like dogs, 0.98; says cats, looks like neither"),
    ]


def test_a_copy_of_what_is_left_out_anyway_takes_its_place() -> None:
    wrong = LabelFinding("test/cats/a", "cats", "dogs", 0.98, sure=True)
    labels = judged(wrong)
    group = CopyGroup((photo("test/cats/a"), photo("train/cats/b")), 1.0)
    assert left_out(result_of(group, labels=labels)) == ["test/cats/a"]


def test_with_many_classes_a_stray_looks_like_none_of_them() -> None:
    labels = LabelCheck((), (), 1.0, {"stray_likeness": 0.2})
    kinds = kinds_of(result_of(class_names=("a", "b", "c"), labels=labels))
    assert "photos that look like none of them" in [kind.title for kind in kinds]


def test_what_was_not_looked_for_is_not_called_absent() -> None:
    of_labels, of_strays = {"labels", "doubtful"}, {"strays", "unusual"}
    few = judged()
    for labels, absent in ((None, of_labels | of_strays), (few, of_strays)):
        told = {kind.key for kind in kinds_of(result_of(labels=labels))}
        assert told & (of_labels | of_strays) == (of_labels | of_strays) - absent


def test_the_page_survives_hostile_names_and_photos_that_are_gone() -> None:
    name = "train/cats/<img src=x onerror=alert(1)>\n\udcff\u202e.jpg"
    group = CopyGroup((photo("train/cats/a"), Photo(name, "cats", "train", "d", (9, 9))), 1.0)
    page = render_check(result_of(group)).decode()
    assert "<img" not in page
    assert "cannot be shown" in page
    assert "\N{REPLACEMENT CHARACTER}" in page


def test_a_page_shows_so_many_and_says_where_the_others_are() -> None:
    groups = [
        CopyGroup((photo(f"train/cats/{n}a"), photo(f"train/cats/{n}b")), 1) for n in range(70)
    ]
    assert "10 more stand in check.json" in render_check(result_of(*groups)).decode()
