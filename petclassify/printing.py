"""What commands print for people: tables as lines of text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from petclassify.terminal import padded, printable, screen_width

if TYPE_CHECKING:
    from petclassify.learn.backbones.catalogue import Catalogue
    from petclassify.learn.backbones.layer_table import LayerTable
    from petclassify.report.check_kinds import Kind
    from petclassify.report.check_result import CheckResult
    from petclassify.report.comparison import Comparison
    from petclassify.report.metrics import Metrics

_LISTED_CLASSES = 10
_LONGEST_LINE = 120


def figure_lines(by_name: Mapping[str, Metrics]) -> Iterator[str]:
    """Headline figures, a row per split."""
    yield f"{'':8}{'photos':>8}{'accuracy':>11}{'log loss':>10}{'ECE':>8}"
    for name, m in by_name.items():
        yield f"{name:8}{m.count:8d}{m.accuracy:11.2%}{m.log_loss:10.4f}{m.ece:8.4f}"


def class_lines(metrics: Metrics) -> Iterator[str]:
    """Precision, recall and F1, a row per class."""
    width = max(12, *(screen_width(printable(name)) + 2 for name in metrics.per_class))
    yield f"{'class':{width}}{'photos':>8}{'precision':>11}{'recall':>9}{'F1':>9}"
    for name, one in metrics.per_class.items():
        shares = [one.precision, one.recall, one.f1]
        shown = ["-" if share is None else f"{share:.2%}" for share in shares]
        label = padded(printable(name), width)
        yield f"{label}{one.count:8d}{shown[0]:>11}{shown[1]:>9}{shown[2]:>9}"


def layer_lines(table: LayerTable, depth: int | None) -> Iterator[str]:
    """Every module down to a depth, indented below the one that it lies in, and the totals."""
    rows = [layer for layer in table.layers if depth is None or layer.depth < depth]
    cells = [
        (
            "  " * layer.depth + layer.name.rpartition(".")[2],
            layer.kind,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
        )
        for layer in rows
    ]
    total = ("total", "", "", f"{table.parameters:,}", f"{table.macs:,}")
    head = ("layer", "kind", "output", "parameters", "multiply-accumulates")
    if table.about:
        yield from [*table.about.splitlines(), ""]
    yield f"{table.network}, input {'x'.join(map(str, table.input_shape))}, one image"
    yield ""
    yield from _aligned([head, *cells, total], left=2)
    yield ""
    yield (
        f"memory  weights {table.weights_bytes / 1e6:.1f} MB, outputs of all layers "
        f"{table.activations_bytes / 1e6:.1f} MB, as float32"
    )


def catalogue_lines(catalogue: Catalogue, width: int) -> Iterator[str]:
    """The names that --backbone takes, but of timm's families only how many there are."""
    width = min(width, _LONGEST_LINE)
    yield "From scratch:"
    yield from _filled(catalogue.zoo, width)
    yield "Pretrained, weights come with the install:"
    yield from _filled(catalogue.offline, width)
    yield "Pretrained, from the hub or --weights FILE, how many in each family of timm:"
    yield from _in_columns({name: len(them) for name, them in catalogue.families.items()}, width)
    yield ""
    yield "petclassify networks 'resnet*'  lists names, 'convnext*tiny*' too"
    yield "petclassify networks resnet18   shows its layers"


def _in_columns(counts: Mapping[str, int], width: int) -> Iterator[str]:
    """Names and counts, read downwards."""
    longest = max(map(len, counts))
    cells = [f"  {name:{longest}}{count:4}" for name, count in counts.items()]
    rows = math.ceil(len(cells) / max(1, width // (longest + 6)))
    for row in range(rows):
        yield "".join(cells[row::rows])


def _filled(names: Sequence[str], width: int) -> list[str]:
    indent = " " * 2
    filled = textwrap.fill(
        "  ".join(names),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return filled.splitlines()


def comparison_lines(comparison: Comparison, width: int) -> Iterator[str]:
    """A row per network, the best on val first; then what failed, and why.

    Columns that do not fit in the width go on in a table below.
    """
    head = ("network", "weights", "px", "val acc.", "val loss", "test acc.", "epochs", "seconds")
    cells = [
        (
            one.network,
            one.weights,
            f"{one.image_size}",
            "{:.1%} ({:.1%} to {:.1%})".format(one.val_accuracy, *one.val_interval),
            f"{one.val_log_loss:.4f}",
            "-" if one.test_accuracy is None else f"{one.test_accuracy:.1%}",
            f"{one.epochs}" if one.epochs else "-",
            f"{one.seconds:.1f}",
            f"{one.latency_ms:.1f}",
            f"{one.parameters / 1e6:.2f} M",
            f"{one.macs / 1e6:,.0f} M",
            f"{one.size_bytes / 1e6:.1f} MB",
        )
        for one in comparison.ranked()
    ]
    yield from _folded([(*head, "ms/photo", "parameters", "MACs", "file"), *cells], width)
    for network, reason in comparison.failures.items():
        yield f"failed: {network}: {reason}"


def _folded(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Columns in as few tables as the width allows; each begins with the first column."""
    name, *others = zip(*rows, strict=True)
    table, left = [name], 2
    for column in others:
        lines = _aligned(list(zip(*table, column, strict=True)), left)
        if len(table) > 1 and max(map(len, lines)) > width:
            yield from _aligned(list(zip(*table, strict=True)), left)
            yield ""
            table, left = [name], 1
        table.append(column)
    yield from _aligned(list(zip(*table, strict=True)), left)


def check_lines(result: CheckResult, kinds: Sequence[Kind], top: int = 5) -> Iterator[str]:
    """Photos by split and class; findings by kind; the worst few of each kind."""
    for split, counts in result.counts.items():
        few, many = min(counts.values()), max(counts.values())
        range_shown = f"{few:,}" if few == many else f"{few:,} to {many:,}"
        classes = f"{len(counts)} classes, of {range_shown} each"
        if len(counts) <= _LISTED_CLASSES:
            classes = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        name = "photos" if result.flat else split
        yield f"{name:8}{sum(counts.values()):8,}  {classes}"
    yield ""
    yield from _aligned([(kind.title, f"{len(kind.findings):,}") for kind in kinds], left=1)
    for kind in kinds:
        if kind.findings:
            yield from ["", f"{kind.title}:"]
            yield from _aligned([(f"  {one.name}", one.says) for one in kind.findings[:top]], 2)
            if len(kind.findings) > top:
                yield f"  and {len(kind.findings) - top:,} more"
    if result.notes:
        yield ""
    yield from (f"note   {note}" for note in result.notes)


def _aligned(rows: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    """Columns as wide as their widest cell, the first ones to the left."""
    shown = [[printable(cell) for cell in row] for row in rows]  # as wide as `show` prints it
    widths = [max(map(screen_width, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = [
            padded(cell, width) if place < left else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def time_line(seconds: Mapping[str, float]) -> str:
    """In all, and what took most of it: seconds by stage, "total" among them."""
    stages = {stage: spent for stage, spent in seconds.items() if stage != "total"}
    longest = sorted(stages, key=lambda stage: -stages[stage])[:3]
    spent = ", ".join(f"{stage} {stages[stage]:.1f}" for stage in longest)
    return f"{seconds['total']:.1f} s, of which {spent}"
