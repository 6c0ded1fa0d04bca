"""Tables of several runs: one per class, region, averaging and threshold source, which the heading names.

The cell of a number that was not measured is empty.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from segkit.core.wording import counted_images
from segkit.metrics.measure import Measurement, has_interval
from segkit.metrics.metrics import METRICS
from segkit.metrics.significance import SeedMean

HEADINGS = {name: metric.heading for name, metric in METRICS.items()}


AVERAGING_HEADINGS = {"pooled": "pooled", "per-image": "mean over images"}

MAX_WIDTH = 100
"""Columns of characters of a table in a terminal or a text file."""


@dataclass(frozen=True)
class Table:
    """Text cells ready for the terminal or for HTML."""

    heading: str
    columns: tuple[str, ...]
    """The first one names the rows."""
    rows: list[dict[str, str]]
    """Keyed by column."""


def of_cells(heading: str, columns: tuple[str, ...], cells: Iterable[Sequence[str]]) -> Table:
    """The table with these rows of cells."""
    return Table(heading, columns, [dict(zip(columns, row, strict=True)) for row in cells])


def tabulate(runs: Mapping[str, Iterable[Measurement]], metrics: Sequence[str] = tuple(METRICS)) -> list[Table]:
    """Tables of the runs, in their order, over the `metrics` that at least one of them has.

    The columns are "Run", "Threshold" and the metrics. Numbers of another class, region, averaging or threshold source
    never share a table; threshold-free metrics stand in the table of every threshold source.
    """
    measured = {run: [m for m in measurements if m.metric in metrics] for run, measurements in runs.items()}
    return [_table(source, chosen, metrics) for source, chosen in comparable(measured)]


def comparable(runs: Mapping[str, Sequence[Measurement]]) -> Iterator[tuple[str, dict[str, list[Measurement]]]]:
    """For each class, region, averaging and threshold source: the source, and the measurements of every run."""
    groups: dict[tuple[str, str, str], dict[str, list[Measurement]]] = {}
    for run, measurements in runs.items():
        for m in measurements:
            groups.setdefault((m.class_name, m.region, m.averaging), {name: [] for name in runs})[run].append(m)
    for inside in groups.values():
        sources = dict.fromkeys(m.threshold_source for measurements in inside.values() for m in measurements)
        for source in [name for name in sources if name != "none"] or ["none"]:
            yield (
                source,
                {run: [m for m in ms if m.threshold_source in (source, "none")] for run, ms in inside.items()},
            )


def metric_tables(measurements: Iterable[Measurement]) -> list[Table]:
    """Tables of one run, a row for each metric and a column for each averaging: one table per class and region.

    A mean over fewer images than in the heading is marked with their number.

    Raises:
        ValueError: the numbers belong to several thresholds.
    """
    measurements = list(measurements)
    cuts = {(m.threshold, m.threshold_source) for m in measurements if m.threshold is not None}
    if len(cuts) > 1:
        raise ValueError(f"numbers of one run at one threshold make a table, not of {sorted(cuts)}")
    tables = []
    for class_name, region in dict.fromkeys((m.class_name, m.region) for m in measurements):
        inside = [m for m in measurements if (m.class_name, m.region) == (class_name, region)]
        averagings = dict.fromkeys(m.averaging for m in inside)
        suffix = " [95 % interval]" if any(has_interval(m) for m in inside) else ""
        columns = {averaging: AVERAGING_HEADINGS[averaging] + suffix for averaging in averagings}
        n, num_groups = max((m.n, m.num_groups) for m in inside)
        cells = {(m.metric, m.averaging): cell(m) + (f" (n = {m.n})" if 0 < m.n < n else "") for m in inside}
        rows = [
            {"Metric": HEADINGS.get(metric, metric)}
            | {columns[averaging]: cells.get((metric, averaging), "") for averaging in averagings}
            for metric in dict.fromkeys(m.metric for m in inside)
        ]
        cut = "".join(f" | threshold {threshold:.4f} ({source})" for threshold, source in cuts)
        heading = f"class {class_name} | region {region}{cut} | n = {counted_images(n, num_groups)}"
        tables.append(Table(heading + _intervals_over(inside), ("Metric", *columns.values()), rows))
    return tables


def render(table: Table, width: int | None = None) -> str:
    """The table as plain text; columns beyond `width` characters follow in a block below."""
    sizes = {c: max(len(c), *(len(row[c]) for row in table.rows)) for c in table.columns}
    first, *rest = table.columns
    blocks: list[list[str]] = [[first]]
    for column in rest:
        taken = sum(sizes[c] + 2 for c in blocks[-1])
        if width is not None and len(blocks[-1]) > 1 and taken + sizes[column] > width:
            blocks.append([first])
        blocks[-1].append(column)
    header = {column: column for column in table.columns}
    lines = [table.heading] if width is None else textwrap.wrap(table.heading, width)
    for block in blocks:
        rule = {column: "-" * sizes[column] for column in block}
        lines += [
            "",
            *("  ".join(row[c].ljust(sizes[c]) for c in block).rstrip() for row in (header, rule, *table.rows)),
        ]
    return "\n".join(lines) + "\n"


def images_text(measurements: Iterable[Measurement]) -> str:
    """ "20 images", "28 images of 14 patients", "4 to 20 images"."""
    sizes = sorted({(m.n, m.num_groups) for m in measurements})
    if len(sizes) == 1:
        return counted_images(*sizes[0])
    text = f"{sizes[0][0]} to {sizes[-1][0]} images"
    patients = sorted({num_groups for _, num_groups in sizes})
    grouped = any(num_groups < n for n, num_groups in sizes)
    return f"{text} of {patients[0]} to {patients[-1]} patients" if grouped else text


def cell(measurement: Measurement | SeedMean) -> str:
    """ "0.8267 [0.8212, 0.8321]"; empty if the number is nan, without brackets if it has no interval."""
    if math.isnan(measurement.value):
        return ""
    if not has_interval(measurement):
        return f"{measurement.value:.4f}"
    return f"{measurement.value:.4f} [{measurement.low:.4f}, {measurement.high:.4f}]"


def heading_of(source: str, measurements: Sequence[Measurement]) -> str:
    """The heading of a table of measurements of one class, region, averaging and threshold source."""
    first, n = measurements[0], images_text(measurements)
    heading = f"class {first.class_name} | region {first.region} | {first.averaging} | threshold {source} | n = {n}"
    return heading + _intervals_over(measurements)


def _table(source: str, runs: Mapping[str, Sequence[Measurement]], metrics: Sequence[str]) -> Table:
    everything = [m for measurements in runs.values() for m in measurements]
    present = [metric for metric in metrics if any(m.metric == metric for m in everything)]
    columns = ("Run", "Threshold", *(HEADINGS.get(metric, metric) for metric in present))
    rows = []
    for run, measurements in runs.items():
        cells = {HEADINGS.get(m.metric, m.metric): cell(m) for m in measurements}
        thresholds = dict.fromkeys(f"{m.threshold:.4f}" for m in measurements if m.threshold is not None)
        rows.append(dict.fromkeys(columns, "") | cells | {"Run": run, "Threshold": ", ".join(thresholds)})
    return Table(heading_of(source, everything), columns, rows)


def _intervals_over(measurements: Sequence[Measurement]) -> str:
    """What the intervals resample, as the end of a heading; empty where there are none."""
    over = "patients" if any(m.num_groups < m.n for m in measurements) else "images"
    return f" | 95 % intervals over {over}" if any(has_interval(m) for m in measurements) else ""
