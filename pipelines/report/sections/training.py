"""Training curves of the networks."""

from collections.abc import Mapping

from pipelines.report import charts, curves
from pipelines.report.album import Album
from pipelines.report.charts import ChartGroup, LineStyle, Plotted, run_styles
from pipelines.report.curves import History, Line
from pipelines.report.evidence import Evidence

CHARTS = {"train/loss": ("Training loss", "loss"), "val/dice": ("Validation Dice at threshold 0.5", "dice")}
"""By logged quantity: the chart's title and the label of its y axis."""


def view(evidence: Evidence, album: Album) -> ChartGroup | None:
    """A chart for each quantity; None without any curves."""
    styles = run_styles(evidence.roles)
    histories = {name: curves.read_phases(evidence.inputs[name]) for name in evidence.of_kind("train")}
    logged = {name: history for name, history in histories.items() if history is not None}
    drawn = []
    for key, (title, y_label) in CHARTS.items():
        plotted = _lines(logged, key, styles)
        if plotted:
            listed = "; ".join(
                f"{line.label} ends at {line.y[-1]:.4f} after {line.x[-1]:.0f} steps" for line in plotted
            )
            name = f"training-{key.replace('/', '-')}"
            drawn.append(
                charts.lines(name, title, plotted, "training steps, phases joined", y_label, description=listed)
            )
    return ChartGroup(drawn, {name: styles.get(name, LineStyle()) for name in logged}) if drawn else None


def _lines(logged: Mapping[str, History], key: str, styles: Mapping[str, LineStyle]) -> list[Plotted]:
    lines = {name: history.lines.get(key, Line()) for name, history in logged.items()}
    return [
        Plotted(name, line.x, line.y, styles.get(name, LineStyle()), marks=logged[name].later_phases)
        for name, line in lines.items()
        if line.x
    ]
