"""What the check of a data set found, as check.json has it, and which photos to leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import petclassify
from petclassify.images.findings import CopyGroup, FileCheck, Photo, count_photos
from petclassify.images.index import Split

_KEPT_FIRST = ("test", "val", "train")


@dataclass(frozen=True)
class LabelFinding:
    """A photo whose label a network that never saw it does not share.

    Attributes:
        name: the photo.
        given: the class of its folder.
        likely: the class that it looks like.
        probability: of that, calibrated.
        sure: whether the label is probably wrong; else it is worth a look.

    """

    name: str
    given: str
    likely: str
    probability: float
    sure: bool


@dataclass(frozen=True)
class Stray:
    """A photo that looks like none of the classes.

    Attributes:
        name: the photo.
        given: the class of its folder.
        likeness: mean cosine to the photos most like it.
        sure: whether it lies far out; else it is worth a look.

    """

    name: str
    given: str
    likeness: float
    sure: bool


@dataclass(frozen=True)
class LabelCheck:
    """What a network says of the labels. Lists stand worst first.

    Attributes:
        findings: labels in doubt.
        strays: photos like no class.
        accuracy: share of the labels that the network shares.
        thresholds: by which strays were told.

    """

    findings: tuple[LabelFinding, ...]
    strays: tuple[Stray, ...]
    accuracy: float
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class CheckResult:
    """All of it.

    Attributes:
        root: the data set.
        class_names: in the order of their labels.
        flat: whether the data set has no split folders.
        backbone: whose features judged the labels.
        files: of the files.
        labels: of the labels; None where they could not be judged.
        notes: what else is to be said.

    """

    root: Path
    class_names: Sequence[str]
    flat: bool
    backbone: str
    files: FileCheck
    labels: LabelCheck | None
    notes: tuple[str, ...]

    @property
    def total(self) -> int:
        """Files, readable or not."""
        return len(self.files.photos) + len(self.files.unreadable)

    @property
    def counts(self) -> dict[Split, dict[str, int]]:
        """Photos that can be read, by split and class."""
        return count_photos(self.files.photos)

    @property
    def none_of_them(self) -> str:
        """How to call what is none of the classes."""
        return "neither" if len(self.class_names) == 2 else "none of them"

    def label_findings(self, *, sure: bool) -> list[LabelFinding]:
        """Labels that are probably wrong, or those that are worth a look."""
        return [one for one in (self.labels.findings if self.labels else ()) if one.sure == sure]

    def strays(self, *, sure: bool) -> list[Stray]:
        """Photos far out, or those that are worth a look."""
        return [one for one in (self.labels.strays if self.labels else ()) if one.sure == sure]

    def copies(self, where: str) -> list[CopyGroup]:
        """Copies across splits, across classes, or within a class."""
        return [group for group in self.files.copies if group.where == where]

    def to_dict(self) -> dict[str, Any]:
        """As in check.json."""
        labels = self.labels
        return {
            "data": str(self.root),
            "petclassify": petclassify.__version__,
            "backbone": self.backbone,
            "photos": self.counts,
            "out_of_fold_accuracy": labels.accuracy if labels else None,
            "thresholds": dict(labels.thresholds) if labels else {},
            "notes": list(self.notes),
            "findings": {
                "unreadable": [asdict(one) for one in self.files.unreadable],
                "copies": [
                    {
                        "where": group.where,
                        "in_two_classes": group.in_two_classes,
                        "exact": group.exact,
                        "likeness": group.likeness,
                        "photos": [photo.name for photo in group.photos],
                    }
                    for group in self.files.copies
                ],
                "labels": [asdict(one) for one in labels.findings] if labels else [],
                "strays": [asdict(one) for one in labels.strays] if labels else [],
                "odd_sizes": [
                    {"name": one.photo.name, "size": one.photo.size, "reason": one.reason}
                    for one in self.files.odd_sizes
                ],
                "rare_classes": [asdict(one) for one in self.files.rare_classes],
            },
        }

    def exclusions(self) -> list[tuple[str, str]]:
        """Photos to leave out, each once, by name, with the reasons.

        Of copies one stays; of copies in two classes none, unless all labels but those of one
        class are probably wrong.
        """
        reasons: dict[str, list[str]] = {}
        for bad in self.files.unreadable:
            reasons.setdefault(bad.name, []).append(f"unreadable: {bad.reason}")
        for doubt in self.label_findings(sure=True):
            said = f"says {doubt.given}, looks like {doubt.likely}, {doubt.probability:.2f}"
            reasons.setdefault(doubt.name, []).append(said)
        for stray in self.strays(sure=True):
            said = f"says {stray.given}, looks like {self.none_of_them}"
            reasons.setdefault(stray.name, []).append(said)
        for group in self.files.copies:
            photos = [photo for photo in group.photos if photo.name not in reasons]
            classes = sorted({photo.class_name for photo in photos})
            if len(classes) > 1:
                said = f"the same photo lies in {' and '.join(classes)}"
                reasons |= {photo.name: [said] for photo in photos}
            else:
                ranked = sorted(photos, key=_worth_keeping)
                reasons |= {photo.name: [f"copy of {ranked[0].name}"] for photo in ranked[1:]}
        return [(name, "; ".join(said)) for name, said in sorted(reasons.items())]


def _worth_keeping(photo: Photo) -> tuple[int, int, int, str]:
    """Of test before val before train, then the largest.

    Of these the one with the shortest name, since copies are called "a copy.jpg".
    """
    split = _KEPT_FIRST.index(photo.split)
    return split, -photo.num_pixels, len(photo.name), photo.name
