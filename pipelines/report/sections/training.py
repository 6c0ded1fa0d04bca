"""Training curves of the networks."""

from pipelines.report import charts, curves
from pipelines.report.album import Album
from pipelines.report.charts import NUM_COLOURS, LineStyle, Plotted, run_styles
from pipelines.report.evidence import Evidence

CHARTS = {"train/loss": ("Training loss", "loss"), "val/dice": ("Validation Dice at threshold 0.5", "dice")}
"""By logged quantity: the chart's title and the label of its y axis."""


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """A chart for each quantity; None without any curves."""
    names = evidence.of_type("train")
    folds = {name: LineStyle(number % NUM_COLOURS, number // NUM_COLOURS) for number, name in enumerate(names)}
    styles = folds | run_styles(evidence.roles)
    histories = {name: curves.read_phases(evidence.inputs[name]) for name in names}
    logged = {name: history for name, history in histories.items() if history is not None}
    drawn = []
    for key, (title, y_label) in CHARTS.items():
        plotted = [
            Plotted(name, line.x, line.y, styles[name], marks=history.later_phases)
            for name, history in logged.items()
            if (line := history.lines.get(key)) is not None
        ]
        if plotted:
            ends = "; ".join(f"{line.label} ends at {line.y[-1]:.4f} after {line.x[-1]:.0f} steps" for line in plotted)
            name, x_label = f"training-{key.replace('/', '-')}", "training steps, phases joined"
            drawn.append(charts.lines(name, title, plotted, x_label, y_label, description=ends))
    return {"charts": drawn, "key": {name: styles[name] for name in logged}} if drawn else None
