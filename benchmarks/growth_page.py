"""What `growth.py` found: growth.png, and the tables of docs/scaling.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labels import End, label_ends
from measuring import failures, load_line

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "scaling.md"
BEGIN, END = "<!-- {}: begin, by benchmarks/growth.py -->", "<!-- {}: end -->"
PLANNED = 10_000_000
# The plan's machines, and what it takes for granted until it is measured on them.
NODES, CORES_A_NODE, EFFICIENCY = 16, 16, 0.8
MIN_R2 = 0.8
ROW_BYTES = 100  # of a CSV row of two classes
NAME_BYTES = 200  # a photo's name in the command's memory, see runtime/ray_scoring.py


@dataclass(frozen=True)
class Line:
    """A straight line through measurements: at no photo, for each more, and how well it fits."""

    fixed: float
    each: float
    r2: float

    @classmethod
    def through(cls, counts: list[int], values: list[float]) -> Line:
        """By least squares."""
        each, fixed = np.polyfit(counts, values, 1)
        rest = np.subtract(values, np.multiply(each, counts) + fixed)
        spread = float(np.sum(np.square(np.subtract(values, np.mean(values)))))
        return cls(float(fixed), float(each), 1 - float(np.sum(rest**2)) / spread if spread else 1)

    @property
    def is_slope(self) -> bool:
        """Whether the value grows with the photos, rather than wavers."""
        return self.each > 0 and self.r2 >= MIN_R2

    def at(self, count: int) -> float:
        """The value at so many photos."""
        return self.fixed + self.each * count


class Grown:
    """The measurements of one command, by count."""

    def __init__(self, raw: dict[str, Any], part: str) -> None:
        found = [one for one in raw["results"] if one["key"][0] == part and "error" not in one]
        self.runs = sorted(found, key=lambda one: one["key"][1])
        self.counts: list[int] = [one["key"][1] for one in self.runs]

    def stages(self) -> list[str]:
        """In the order of the run, the whole last."""
        names = list(self.runs[0]["seconds"]) if self.runs else []
        return sorted(names, key=lambda name: name == "total")

    def values(self, figure: str, stage: str) -> list[float]:
        """One value a count."""
        return [one[figure][stage] for one in self.runs]

    def line(self, figure: str, stage: str) -> Line | None:
        """None with fewer than three counts."""
        if len(self.counts) < 3:
            return None
        return Line.through(self.counts, self.values(figure, stage))


def write_page(raw: dict[str, Any]) -> str:
    """Write growth.png and the tables; returns the tables."""
    train, predict, ray = (Grown(raw, part) for part in ("train", "predict", "ray"))
    tables = {
        "measured": measured_table(raw, train, predict, ray),
        "plan": plan_table(train, predict, ray, raw["about"]["cores"]),
    }
    if DOCUMENT.exists():
        text = DOCUMENT.read_text()
        for name, table in tables.items():
            begin, end = BEGIN.format(name), END.format(name)
            before, _, rest = text.partition(begin)
            _, _, after = rest.partition(end)
            text = f"{before}{begin}\n{table}\n{end}{after}"
        DOCUMENT.write_text(text)
    if train.runs and predict.runs:
        draw(train, predict)
    return "\n\n".join(tables.values())


def measured_table(raw: dict[str, Any], train: Grown, predict: Grown, ray: Grown) -> str:
    """Seconds and MiB by stage and count, and the line through them."""
    counts = sorted({*train.counts, *predict.counts})
    lines = [
        f"{raw['date']}, {raw['about']['machine']}. {load_line(raw['results'])} "
        "Seconds / peak MiB by stage, for so many photos.",
        "",
        f"| stage | {' | '.join(f'{count:,}' for count in counts)} "
        "| seconds: fixed + a photo (R2) | memory: fixed + a photo (R2) |",
        f"|{' --- |' * (len(counts) + 3)}",
    ]
    commands = (
        ("`train`", train),
        ("`predict FOLDER --output`", predict),
        ("`predict FOLDER --output --engine ray`", ray),
    )
    for name, grown in commands:
        for stage in grown.stages():
            what = f"{name}, the whole command" if stage == "total" else f"{name}: {stage}"
            known = dict(zip(grown.counts, grown.runs, strict=True))
            cells = [
                f"{known[count]['seconds'][stage]:.1f} / {known[count]['memory'][stage]:,.0f}"
                if count in known
                else "-"
                for count in counts
            ]
            lines.append(f"| {what} | {' | '.join(cells)} | {slopes(grown, stage)} |")
    real = {one["key"][1]: one["test"] for one in train.runs if one["key"][1] <= 2_000}
    cells = [
        f"{real[count]['accuracy']:.1%} of {real[count]['count']}" if count in real else "-"
        for count in counts
    ]
    lines.append(f"| `train`: right on its own test photos | {' | '.join(cells)} | - | - |")
    for line in failures(raw["results"]):
        lines += ["", line]
    if train.runs and predict.runs:
        lines += ["", "![time and memory over the photos](images/growth.png)"]
    return "\n".join(lines)


def slopes(grown: Grown, stage: str) -> str:
    """Both lines, for a table."""
    time, memory = grown.line("seconds", stage), grown.line("memory", stage)
    if time is None or memory is None:
        return "- | -"
    seconds, mib = "no slope", "no slope"
    if time.is_slope:
        seconds = f"{time.fixed:.1f} s + {1000 * time.each:.2f} ms ({time.r2:.3f})"
    if memory.is_slope:
        mib = f"{memory.fixed:,.0f} MiB + {1024 * memory.each:.1f} KiB ({memory.r2:.3f})"
    return f"{seconds} | {mib}"


def plan_table(train: Grown, predict: Grown, ray: Grown, cores: int) -> str:
    """Ten million photos, from the measured lines."""
    scoring, by_ray = predict.line("seconds", "total"), ray.line("seconds", "total")
    features, whole = train.line("seconds", "features"), train.line("seconds", "total")
    memory = train.line("memory", "total")
    lines = (scoring, by_ray, features, whole)
    if memory is None or any(line is None or not line.is_slope for line in lines):
        return "Not measured yet, or too busy a machine: `python benchmarks/growth.py`."
    core_s = cores * by_ray.each
    cluster_s = PLANNED * core_s / (NODES * CORES_A_NODE) / EFFICIENCY
    photo_bytes = predict.runs[-1]["photo_bytes"]
    cache = train.runs[-1]["cache_mib"] / train.counts[-1]
    each_node = 8 * PLANNED * photo_bytes / cluster_s / NODES
    rows = [
        ("photos", f"{PLANNED:,}, {PLANNED * photo_bytes / 1e12:.2f} TB"),
        ("one core, a photo, by Ray", f"{1000 * core_s:.1f} ms"),
        ("the same without Ray", f"{1000 * cores * scoring.each:.1f} ms"),
        (f"this machine ({cores} cores), by Ray", f"{by_ray.at(PLANNED) / 3600:.0f} h"),
        (
            f"{NODES} nodes of {CORES_A_NODE} cores, at {EFFICIENCY:.0%}",
            f"{cluster_s / 60:.0f} min",
        ),
        ("read from the object store", f"{PLANNED * photo_bytes / cluster_s / 1e9:.2f} GB/s"),
        ("of it each node", f"{each_node / 1e9:.2f} Gbit/s"),
        ("names, in the command's memory", f"{PLANNED * NAME_BYTES / 1e9:.1f} GB"),
        ("results, CSV", f"{PLANNED * ROW_BYTES / 1e9:.1f} GB"),
        ("`train` on all of them, here: features", f"{features.at(PLANNED) / 3600:.0f} h"),
        ("its feature cache", f"{PLANNED * cache / 1024:,.0f} GiB"),
        ("`train` on a sample of 100,000, here", f"{whole.at(100_000) / 3600:.1f} h"),
    ]
    if memory.is_slope:
        rows += [
            ("memory of `train` on all of them", f"{memory.at(PLANNED) / 1024:,.0f} GiB"),
            ("on the sample", f"{memory.at(100_000) / 1024:,.1f} GiB"),
        ]
    return "\n".join(["| what | figure |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)])


# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def draw(train: Grown, predict: Grown) -> None:
    """Time and memory over the photos, both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(8, 4.4), layout="constrained")
    time, memory = figure.subplots(1, 2)
    last = {stage: train.values("seconds", stage)[-1] for stage in train.stages()}
    largest = sorted(last, key=lambda stage: last[stage])[-4:]
    curves = [
        *(("train" if one == "total" else one, train, one) for one in reversed(largest)),
        ("predict", predict, "total"),
    ]
    ends: dict[Any, list[End]] = {time: [], memory: []}
    for (name, grown, stage), colour in zip(curves, COLOURS, strict=False):
        for axes, figure_name in ((time, "seconds"), (memory, "memory")):
            if axes is time or stage == "total":
                values = grown.values(figure_name, stage)
                axes.plot(grown.counts, values, "o-", color=colour, linewidth=2, markersize=5)
                ends[axes].append(End(grown.counts[-1], values[-1], name, colour))
    for axes, title in ((time, "seconds"), (memory, "peak memory, MiB")):
        axes.set(xscale="log", yscale="log", xlabel="photos", title=title)
        axes.set_xlim(train.counts[0] * 0.8, train.counts[-1] * 5)
        axes.set_xticks(train.counts, [f"{count:,}" for count in train.counts], rotation=45)
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    memory.set_ylim(50, None)
    figure.draw_without_rendering()
    for axes, named in ends.items():
        label_ends(axes, named)
    figure.savefig(HERE.parent / "docs" / "images" / "growth.png", dpi=120)
