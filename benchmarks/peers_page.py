"""What `peers.py` found, as a table with every command."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import failures, load_line
from systems import FULL, INSTALLED, OURS, PEERS, PREDICTING, TRAINED, TUNED

GOAL = 0.99
COLUMNS = [OURS, TUNED, *PEERS]
TIMM, SAME_AS_TIMM = "timm + torch", "tutorial, all layers"
CPU_BUILD = "timm + torch, CPU build"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: is measured.
        values: by system; None where there is none.
        form: how to write one.
        most: whether more is better.
        in_times: whether it makes sense to say how many times better.
        ranked: whether the values may be held against one another.
        over: by system, what the value is above: it was not reached.

    """

    what: str
    values: dict[str, float | None]
    form: str
    most: bool = False
    in_times: bool = True
    ranked: bool = True
    over: dict[str, float] = field(default_factory=dict)

    def best(self, systems: Sequence[str]) -> str | None:
        """Who has the best value."""
        if not self.ranked:
            return None
        known = {one: self.values[one] for one in systems if self.values.get(one) is not None}
        pick = max if self.most else min
        return pick(known, key=lambda one: known[one]) if known else None

    def lead(self) -> str:
        """By how much petclassify is better than the best of the others; below 1 is worse."""
        other, ours = self.best(list(PEERS)), self.values.get(OURS)
        if not ours or not self.in_times:
            return ""
        if other is None:
            bounds = [self.over[one] for one in PEERS if one in self.over]
            return f"> {min(bounds) / ours:.2g} x (no peer reached it)" if bounds else ""
        ratio = self.values[other] / ours
        return f"{1 / ratio if self.most else ratio:.2g} x ({other})"

    def line(self) -> str:
        """The row in Markdown, the best in bold."""
        best, cells = self.best(COLUMNS), []
        for system in COLUMNS:
            value = self.values.get(system)
            text = "-"
            if system in self.over:
                text = f"not in {self.form.format(self.over[system])}"
            if value is not None:
                text = self.form.format(value)
            cells.append(f"**{text}**" if system == best else text)
        return f"| {self.what} | {' | '.join(cells)} | {best or '-'} | {self.lead()} |"


class Results:
    """The raw results, and medians over their rounds."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.about: dict[str, Any] = raw["about"]
        self.date: str = raw["date"]
        self.load = load_line(raw["results"])
        self.failures = failures(raw["results"])
        self._all: list[dict[str, Any]] = raw["results"]

    def of(self, part: str, system: str) -> list[dict[str, Any]]:
        """Those that did not fail."""
        return [one for one in self._all if one["key"][:2] == [part, system] and "error" not in one]

    def median(self, part: str, system: str, figure: str) -> float | None:
        """Over the rounds; None without any."""
        found = [one[figure] for one in self.of(part, system)]
        return statistics.median(found) if found else None

    def medians(self, part: str, systems: Sequence[str], figure: str) -> dict[str, float | None]:
        """By system."""
        return {system: self.median(part, system, figure) for system in systems}

    def at_best(self, system: str, figure: str) -> float | None:
        """Of each training its most accurate point; the median over the rounds."""
        runs = [one["points"] for one in self.of("train", system) if one["points"]]
        tops = [max(points, key=lambda point: point["accuracy"]) for points in runs]
        return statistics.median(top[figure] for top in tops) if tops else None

    def rounds(self, part: str) -> str:
        """How often a part was measured, on which state of petclassify; who less often."""
        ours = self.of(part, OURS)
        trees = " and ".join(sorted({f"tree {one['tree']}" for one in ours}))
        fewer: dict[int, list[str]] = {}
        for system in COLUMNS:
            if 0 < len(found := self.of(part, system)) < len(ours):
                fewer.setdefault(len(found), []).append(system)
        less = "".join(f"; only {count} of {' and '.join(who)}" for count, who in fewer.items())
        return f"{len(ours)} ({part}, {trees}{less})"

    def commands(self) -> list[tuple[str, str]]:
        """(part and system, command), each once."""
        by_key = {" ".join(one["key"][:2]): one["command"] for one in self._all if "command" in one}
        return list(by_key.items())


def write_page(results: Results, page: Path) -> str:
    """Write the page beside its picture; returns the text."""
    rows = table_rows(results)
    text = "\n".join(
        [
            "# Side by side with the peers",
            "",
            "Written by `python benchmarks/peers.py`, whose head says what is measured and how. "
            f"{results.date}, {results.about['machine']}, "
            f"{results.about['photos']} photos; "
            + ", ".join(f"{name} {is_}" for name, is_ in results.about["versions"].items())
            + ". Medians of "
            + ", ".join(map(results.rounds, ("train", "predict", "folder", "install")))
            + f". {results.load} The best of each row is bold.",
            "",
            f"| | {' | '.join(COLUMNS)} | best | petclassify is better than the best peer by |",
            f"|{' --- |' * (len(COLUMNS) + 3)}",
            *(row.line() for row in rows),
            "",
            *remarks(results),
            "",
            f"![accuracy over time, and what a prediction costs]({page.stem}.png)",
            "",
            "A curve is the round whose time lies in the middle of a system's rounds, as it was; "
            "the table's figures are medians, each by itself.",
            "",
            "## The commands",
            "",
            *(f"- {key}: `{command}`" for key, command in results.commands()),
            "",
        ]
    )
    page.write_text(text)
    return text


def table_rows(results: Results) -> list[Row]:
    """All lines of the table."""
    accuracy = {one: results.at_best(one, "accuracy") for one in TRAINED}
    log_loss = {one: results.at_best(one, "log_loss") for one in TRAINED}
    seconds = results.medians("train", TRAINED, "exported_s")
    late = {
        one: seconds[one] for one in TRAINED if accuracy[one] is not None and accuracy[one] < GOAL
    }
    in_time = {one: None if one in late else seconds[one] for one in TRAINED}
    size, install_s = installed(results, "mib"), installed(results, "seconds")
    rows = [
        Row("trained to 99 % and exported", in_time, "{:.1f} s", over=late),
        Row("test accuracy at its best", accuracy, "{:.2%}", in_times=False, ranked=False),
        Row("test log loss there", log_loss, "{:.4f}", in_times=False, ranked=False),
        Row(
            "training, peak memory (without workers)",
            results.medians("train", TRAINED, "peak_mib"),
            "{:.0f} MiB",
        ),
        Row("one photo, cold", results.medians("predict", PREDICTING, "seconds"), "{:.2f} s"),
        Row(
            "one photo, cold, peak memory",
            results.medians("predict", PREDICTING, "peak_mib"),
            "{:.0f} MiB",
        ),
        Row(
            f"a folder of {results.about['test_photos']} photos",
            results.medians("folder", PREDICTING, "per_second"),
            "{:.0f} photos/s",
            most=True,
        ),
        Row("deployed: install and model on disk", deployed(results), "{:.0f} MiB"),
        Row("install to predict", install_s, "{:.0f} s"),
        Row("install to train", install_s | {OURS: install_s[FULL]}, "{:.0f} s"),
        Row("install to train, on disk", size | {OURS: size[FULL]}, "{:.0f} MiB"),
    ]
    return [row for row in rows if row.over or any(v is not None for v in row.values.values())]


def installed(results: Results, figure: str) -> dict[str, float | None]:
    """By system; what is installed alike has the same figure."""
    found = results.medians("install", INSTALLED, figure)
    return found | {TIMM: found[SAME_AS_TIMM]}


def deployed(results: Results) -> dict[str, float | None]:
    """MiB of what must lie on a server's disk to answer: packages and the model file."""
    found: dict[str, float | None] = {}
    mib = installed(results, "mib")
    for system in PREDICTING:
        packages = mib[system]
        model = results.median("predict", system, "model_mib")
        found[system] = None if packages is None or model is None else packages + model
    return found


def remarks(results: Results) -> list[str]:
    """The limit, who wins against petclassify, the smaller build of torch, and what failed."""
    lines = [
        "A dash: not measured, or there is nothing to measure. Ultralytics predicts with random "
        "weights (it cannot take the others'), so it is not trained. `tutorial, frozen` predicts "
        "as its other form does. Peers are stopped once they reach 99 %, or when the next epoch "
        "would pass the budget in their command, so what they would reach in the end is not known, "
        "and those two rows rank nobody. A peer's network can be exported "
        "to ONNX by hand and served as small as ours; none of these scripts does it.",
        "",
    ]
    lines += limit_lines(results)
    judging = [
        f"{one} {seconds:.0f} s"
        for one in PEERS
        if (seconds := results.median("train", one, "judging_s")) is not None
    ]
    if judging:
        lines += [f"Judging the test photos, not counted above: {', '.join(judging)}.", ""]
    small, ours = results.median("install", CPU_BUILD, "mib"), deployed(results)[OURS]
    if small is not None and ours is not None:
        lines += [
            "With a CPU build of torch (2.13, the last that came so here; the package index does "
            f"not give it unasked), timm + torch is {small:.0f} MiB, {small / ours:.1f} "
            "times what petclassify deploys.",
            "",
        ]
    lost = [
        f"{row.what} ({row.best(list(PEERS))})"
        for row in table_rows(results)
        if row.best(COLUMNS) in PEERS
    ]
    lines.append(f"Where a peer wins: {'; '.join(lost) or 'nowhere'}.")
    for line in results.failures:
        lines += ["", line]
    return lines


def limit_lines(results: Results) -> list[str]:
    """The limit, and how near `petclassify train` comes to the one measured just before it."""
    limits = {one["key"][2]: one for one in results.of("train", "limit")}
    if not limits:
        return []
    decoded, views, train_s = (
        results.median("train", "limit", name) for name in ("decoded", "views", "train_s")
    )
    engines = sorted({one["engine"] for one in limits.values()})
    line = (
        f"The limit: decoding only, {decoded:.0f} photos/s; the network only, {views:.0f} views/s "
        f"({', '.join(engines)}); one after the other, for all photos and the mirror images of "
        f"those to train on, {train_s:.1f} s."
    )
    ratios = [
        one["wall_s"] / limits[one["key"][2]]["train_s"]
        for one in results.of("train", OURS)
        if one["key"][2] in limits
    ]
    if ratios:
        line += f" `petclassify train` takes {statistics.median(ratios):.2f} times that."
    return [line, ""]
