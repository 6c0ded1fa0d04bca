"""Charts as inline SVG that follow the page's light and dark mode; their text remains text.

Matplotlib draws with placeholder colours, which are then replaced by CSS variables of the page.
"""

import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipelines.report.verdict import difference_text, signed
from pipelines.results.measurements import OBSERVER
from pipelines.stage_types import Roles
from segkit.metrics.significance import PairedDifference

NUM_COLOURS = 6
"""Colours of the page's palette, `--series-0` and so on; a further series reuses one with another dash."""

DASHES: tuple[str, ...] = ("", "4 2", "1 1.6", "5 1.5 1 1.5")
"""Dash patterns in widths of the line."""

LABEL_COLUMNS = 56
"""Characters of a line of a label in a forest plot."""

_INK, _MUTED, _GRID, _PAPER = "#0a0001", "#0a0002", "#0a0003", "#0a0004"
_SERIES = tuple(f"#0b00{number:02x}" for number in range(NUM_COLOURS))
_VARIABLES = {_INK: "var(--ink)", _MUTED: "var(--muted)", _GRID: "var(--rule)", _PAPER: "var(--paper)"} | {
    stand_in: f"var(--series-{number})" for number, stand_in in enumerate(_SERIES)
}

_STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 8,
    "font.family": "sans-serif",
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.titlecolor": _INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.5,
    "text.color": _INK,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
}


@dataclass(frozen=True)
class LineStyle:
    """Colour and dashes of a run, the same in every chart."""

    colour: int = 0
    """Number of the palette's colour."""
    dash: int = 0
    """Number of the dash pattern; 0 is solid."""
    wide: bool = False
    """Wider, so that it is visible below other lines; such a line is drawn first."""

    @property
    def width(self) -> float:
        """Of the line, in points."""
        return 3.0 if self.wide else 1.4

    @property
    def css(self) -> str:
        """Of the line in a chart's key."""
        dashes = DASHES[self.dash % len(DASHES)] or "none"
        colour = f"var(--series-{self.colour % NUM_COLOURS})"
        return f"stroke: {colour}; stroke-width: {1.4 * self.width:g}; stroke-dasharray: {dashes}"


def run_styles(roles: Roles) -> dict[str, LineStyle]:
    """The style of each run by its role: a control has the colour of its treated model, dashed."""
    styles = {roles.baseline: LineStyle(0), OBSERVER: LineStyle(0)}
    if roles.ensemble is not None:
        styles[roles.ensemble] = LineStyle(NUM_COLOURS - 1, wide=True)
    controls: dict[str, LineStyle] = {}
    for number, treated in enumerate((*roles.treated, *roles.compared)):
        cycle, colour = divmod(number, NUM_COLOURS - 2)  # two are the baseline's and the ensemble's
        styles[treated] = LineStyle(1 + colour, 2 * (cycle % 2))
        if treated in roles.controls:
            controls.setdefault(roles.controls[treated], LineStyle(1 + colour, 1 + 2 * (cycle % 2)))
    if roles.ensemble in roles.controls:
        controls[roles.controls[roles.ensemble]] = LineStyle(NUM_COLOURS - 1, 1)
    return styles | controls


@dataclass(frozen=True)
class Plotted:
    """One line, or one point where `marker` is set."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: LineStyle = LineStyle()
    marker: bool = False
    marks: Sequence[float] = ()
    """Positions on the x axis that are marked on the line."""
    band: tuple[Sequence[float], Sequence[float]] | None = None
    """Lower and upper ends of an area around the line."""


def lines(
    name: str,
    title: str,
    plotted: Sequence[Plotted],
    x_label: str,
    y_label: str,
    *,
    description: str,
    diagonal: bool = False,
    unit_square: bool = False,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Markup:
    """A chart of lines over one axis.

    Args:
        name: unique on the page; ids inside the SVG begin with it.
        diagonal: draw y = x, the line of calibrated probabilities.
        unit_square: both axes reach from 0 to 1 and are equally long.
        limits: ends of the x axis and of the y axis, for a part of the unit square.
    """
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure, axes = _figure(3.3, 3.1) if unit_square or limits else _figure(4.2, 2.7)
        if diagonal:
            axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=0.8, dashes=(2, 2))
        for line in plotted:
            _draw(axes, line)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        if unit_square:
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            axes.set_aspect("equal", adjustable="box")
        if limits:
            axes.set(xlim=limits[0], ylim=limits[1])
        return _inline(figure, name, f"{title}. {description}")


def intervals(
    name: str, differences: Mapping[str, PairedDifference], x_label: str, p_values: Mapping[str, float] | None = None
) -> Markup:
    """A forest plot: differences with their intervals, values, n and p below each other, and a line at zero."""
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        wrapped = {label: textwrap.wrap(label.replace(" = ", "\u00a0=\u00a0"), LABEL_COLUMNS) for label in differences}
        num_lines = max((len(lines) for lines in wrapped.values()), default=1)
        figure, axes = _figure(4.0, 0.55 + (0.45 + 0.15 * num_lines) * len(differences))
        axes.axvline(0, color=_MUTED, linewidth=0.8)
        for row, (label, paired) in enumerate(reversed([*differences.items()])):
            axes.plot([paired.low, paired.high], [row, row], color=_SERIES[0], linewidth=2.2, solid_capstyle="butt")
            axes.plot([paired.difference], [row], "o", color=_SERIES[0], markersize=5)
            p = "" if p_values is None else f", p = {p_values[label]:.2g}"
            for text, offset in (
                ("\n".join(wrapped[label]), 6),
                (f"{difference_text(paired)}, n = {paired.n}{p}", -13),
            ):
                axes.annotate(
                    text,
                    (0, row),
                    (0, offset),
                    ("axes fraction", "data"),
                    "offset points",
                    annotation_clip=False,
                )
        ends = [end for paired in differences.values() for end in (paired.low, paired.high, paired.difference)]
        reach = max((abs(end) for end in ends if not math.isnan(end)), default=0.0)
        axes.set_xlim(-1.15 * reach or -1, 1.15 * reach or 1)
        axes.set_ylim(-0.6, len(differences) - 0.4)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(x_label)
        listed = "; ".join(
            f"{label}: {signed(paired.difference)}, from {signed(paired.low)} to {signed(paired.high)}"
            for label, paired in differences.items()
        )
        return _inline(figure, name, f"{x_label}, with 95 % intervals. {listed}.")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def _draw(axes: Axes, plotted: Plotted) -> None:
    x, y, style = plotted.x, plotted.y, plotted.style
    colour = _SERIES[style.colour % NUM_COLOURS]
    if plotted.marker:
        axes.plot(x, y, "D", color=colour, markersize=5)
        return
    if plotted.band is not None:
        axes.fill_between(x, *plotted.band, color=colour, alpha=0.2, linewidth=0)
    width = min(style.width, 0.9) if len(x) > 250 else style.width
    marker = "o" if len(x) < 8 else None
    (line,) = axes.plot(x, y, color=colour, label=plotted.label, linewidth=width, marker=marker, markersize=2.5)
    if pattern := DASHES[style.dash % len(DASHES)]:
        line.set_dashes([float(part) for part in pattern.split()])
    if plotted.marks:
        axes.plot(plotted.marks, np.interp(plotted.marks, x, y), "|", color=colour, markersize=9, markeredgewidth=1.4)


def _inline(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an `<svg>` that scales with the page; its ids are unique on the page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(url\(|xlink:href=")#', rf"\g<1>#{name}-", svg)
    svg = re.sub(r"(font-family: |font: [0-9.]+px )[^;\"]*", r"\1var(--sans)", svg)  # depends on the version
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    size = re.search(r'viewBox="[^"]+"', svg)
    assert size is not None
    shown = f'role="img" aria-label="{escape(description)}"'
    head = f'<svg class="chart" {size.group()} xmlns:xlink="http://www.w3.org/1999/xlink" {shown}>'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1).strip())
