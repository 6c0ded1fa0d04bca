"""Tables of several runs: one per region, averaging and threshold source, each heading saying so.

A number that was not measured leaves its cell empty; nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from segkit.core.wording import counted
from segkit.metrics.measure import Measurement
from segkit.metrics.metrics import METRICS

HEADINGS = {name: metric.heading for name, metric in METRICS.items()}


@dataclass(frozen=True)
class Table:
    """Text cells ready for the terminal or for HTML."""

    heading: str
    columns: tuple[str, ...]
    """The first is "Run", the second "Threshold"."""
    rows: list[dict[str, str]]
    """One per run, keyed by column."""


def tabulate(runs: Mapping[str, Iterable[Measurement]], metrics: Sequence[str] = tuple(METRICS)) -> list[Table]:
    """Tables of the runs, in their order, over the `metrics` that at least one of them has.

    Numbers of another class, region, averaging or threshold source never share a table; threshold-free metrics stand
    in the table of every threshold source.
    """
    measured = {run: [m for m in found if m.metric in metrics] for run, found in runs.items()}
    everything = [m for found in measured.values() for m in found]
    groups = dict.fromkeys((m.class_name, m.region, m.averaging) for m in everything)
    tables = []
    for group in groups:
        inside = {run: [m for m in found if _group(m) == group] for run, found in measured.items()}
        sources = dict.fromkeys(m.threshold_source for found in inside.values() for m in found)
        for source in [name for name in sources if name != "none"] or ["none"]:
            chosen = {
                run: [m for m in found if m.threshold_source in (source, "none")] for run, found in inside.items()
            }
            tables.append(_table(group, source, chosen, metrics))
    return tables


def render(table: Table, width: int | None = None) -> str:
    """The table as plain text; columns that do not fit in `width` characters go on in a block below."""
    sizes = {c: max(len(c), *(len(row[c]) for row in table.rows)) for c in table.columns}
    first, *rest = table.columns
    blocks: list[list[str]] = [[first]]
    for column in rest:
        taken = sum(sizes[c] + 2 for c in blocks[-1])
        if width is not None and len(blocks[-1]) > 1 and taken + sizes[column] > width:
            blocks.append([first])
        blocks[-1].append(column)
    header = {column: column for column in table.columns}
    lines = [table.heading]
    for block in blocks:
        rule = {column: "-" * sizes[column] for column in block}
        lines += [
            "",
            *("  ".join(row[c].ljust(sizes[c]) for c in block).rstrip() for row in (header, rule, *table.rows)),
        ]
    return "\n".join(lines) + "\n"


def cell(measurement: Measurement) -> str:
    """ "0.8267 [0.8212, 0.8321]"; empty if the number is nan, without brackets if it has no interval."""
    if measurement.value != measurement.value:
        return ""
    if measurement.low != measurement.low:
        return f"{measurement.value:.4f}"
    return f"{measurement.value:.4f} [{measurement.low:.4f}, {measurement.high:.4f}]"


def _group(measurement: Measurement) -> tuple[str, str, str]:
    return measurement.class_name, measurement.region, measurement.averaging


def _table(
    group: tuple[str, str, str], source: str, runs: Mapping[str, Sequence[Measurement]], metrics: Sequence[str]
) -> Table:
    class_name, region, averaging = group
    present = [metric for metric in metrics if any(m.metric == metric for found in runs.values() for m in found)]
    sizes = sorted({m.n for found in runs.values() for m in found})
    n = counted(sizes[0], "image") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} images"
    columns = ("Run", "Threshold", *(HEADINGS.get(metric, metric) for metric in present))
    rows = []
    for run, found in runs.items():
        cells = {HEADINGS.get(m.metric, m.metric): cell(m) for m in found}
        thresholds = dict.fromkeys(f"{m.threshold:.4f}" for m in found if m.threshold is not None)
        rows.append(dict.fromkeys(columns, "") | cells | {"Run": run, "Threshold": ", ".join(thresholds)})
    heading = f"class {class_name} | region {region} | {averaging} | threshold {source} | n = {n}"
    return Table(f"{heading} | 95 % intervals over images", columns, rows)
