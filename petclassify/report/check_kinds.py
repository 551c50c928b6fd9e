"""The findings of a data check in words, kind by kind, the worst kind first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from petclassify.images.findings import CopyGroup
from petclassify.report.check_result import CheckResult, LabelCheck, LabelFinding, Stray

Layout = Literal["photos", "groups", "lines"]


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        says: what is the matter.
        photos: which it is about, by name, each with what is to be said of it alone.

    """

    says: str
    photos: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """All its photos in one line."""
        return " = ".join(name for name, _ in self.photos)


@dataclass(frozen=True)
class Kind:
    """All findings of one kind.

    Attributes:
        key: a word for it, as in links.
        title: a line for it.
        about: what it means, and what to do.
        layout: how a page shows it.
        findings: worst first.

    """

    key: str
    title: str
    about: str
    layout: Layout
    findings: tuple[Finding, ...]


def kinds_of(result: CheckResult) -> list[Kind]:
    """Every kind that was looked for, those without findings too."""
    neither = result.none_of_them
    files, labels = result.files, result.labels
    not_looked_for = {"labels", "doubtful"} if labels is None else set()
    if labels is None or not labels.thresholds:
        not_looked_for |= {"strays", "unusual"}
    kinds = [
        Kind(
            "unreadable",
            "files that cannot be read",
            "Training leaves out up to 1 % and refuses more. Repair, remove or exclude them.",
            "lines",
            tuple(Finding(one.reason, ((one.name, ""),)) for one in files.unreadable),
        ),
        Kind(
            "splits",
            "copies across splits",
            "A model has seen these test or validation photos in training, so that its figures "
            "flatter. Keep the copy in test.",
            "groups",
            _of_copies(result.copies("splits")),
        ),
        Kind(
            "classes",
            "copies in two classes",
            "One photo with two labels. One of them is wrong, or the photo shows both; the list to "
            "exclude leaves all of it out.",
            "groups",
            _of_copies(result.copies("classes")),
        ),
        Kind(
            "labels",
            "labels that are probably wrong",
            "A classifier that never saw the photo, nor a copy of it, is sure of another class. "
            "Move the photo to the right folder, or leave it out.",
            "photos",
            _of_labels(result.label_findings(sure=True)),
        ),
        Kind(
            "strays",
            f"photos that look like {neither}",
            f"{_unlike(labels, 'stray_likeness')} Often no photo of any class, or one taken very "
            "differently.",
            "photos",
            _of_strays(result.strays(sure=True), f"looks like {neither}"),
        ),
        Kind(
            "doubtful",
            "labels worth a look",
            "The classifier says otherwise, without being sure. Most of these labels are right, "
            "and the photos hard; the list to exclude leaves them in.",
            "photos",
            _of_labels(result.label_findings(sure=False)),
        ),
        Kind(
            "unusual",
            "unusual photos",
            f"{_unlike(labels, 'stray_worth_a_look')} The list to exclude leaves them in.",
            "photos",
            _of_strays(result.strays(sure=False), "unlike the others"),
        ),
        Kind(
            "copies",
            "copies within a class",
            "The same photo more than once: it counts double, and says nothing new.",
            "groups",
            _of_copies(result.copies("class")),
        ),
        Kind(
            "sizes",
            "odd sizes",
            "Far larger, smaller, wider or taller than the other photos.",
            "photos",
            tuple(Finding(one.reason, ((one.photo.name, ""),)) for one in files.odd_sizes),
        ),
        Kind(
            "rare",
            "classes out of balance",
            "Less than a third of the photos of the largest class. Add some.",
            "lines",
            tuple(
                Finding(
                    f"{one.class_name}: {one.count:,} photos, where {one.largest_class} has "
                    f"{one.largest_count:,}"
                )
                for one in files.rare_classes
            ),
        ),
    ]
    return [kind for kind in kinds if kind.key not in not_looked_for]


def _of_labels(findings: Iterable[LabelFinding]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            f"says {one.given}, looks like {one.likely}, {one.probability:.2f}", ((one.name, ""),)
        )
        for one in findings
    )


def _unlike(labels: LabelCheck | None, fence: str) -> str:
    least = labels.thresholds.get(fence, 0.0) if labels else 0.0
    return f"Less than {least:.2f} like the ten photos most like it, where an equal one has 1."


def _of_strays(strays: Iterable[Stray], says: str) -> tuple[Finding, ...]:
    return tuple(
        Finding(f"says {one.given}, {says}, {one.likeness:.2f}", ((one.name, ""),))
        for one in strays
    )


def _of_copies(groups: Iterable[CopyGroup]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            (
                f"{len(group.photos)} equal files"
                if group.exact
                else f"{len(group.photos)} photos alike, {group.likeness:.3f}"
            )
            + (", in two classes" if group.in_two_classes else ""),
            tuple((one.name, f"{one.size[0]} x {one.size[1]}") for one in group.photos),
        )
        for group in groups
    )
