"""Reliability, ROC and precision-recall of all scored pixels inside the field of view."""

import math
from collections.abc import Iterable

from pipelines.report import charts
from pipelines.report.album import Album
from pipelines.report.charts import LineStyle, Plotted, run_styles
from pipelines.report.evidence import Evidence
from pipelines.results.calibration import CALIBRATION, calibration_text
from pipelines.results.measurements import OBSERVER
from segkit.core.files import read_json
from segkit.core.manifest import Split
from segkit.metrics.curves import LevelCounts, confusion_at, precision_recall_curve, reliability, roc_curve, thin
from segkit.metrics.measure import find_measurement
from segkit.metrics.score import pool
from segkit.metrics.tables import HEADINGS

NUM_POINTS = 200
"""Of a drawn curve."""

AXES = {
    "reliability": ("Reliability", "mean probability given", "share that is positive", "ece"),
    "roc": ("ROC", "1 − specificity", "sensitivity", "auroc"),
    "pr": ("Precision-recall", "sensitivity (recall)", "precision", "auprc"),
}
"""Title, axes and metric of each chart."""


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """Three charts of the models of a binary task that were scored on the verdict's images; None without any."""
    basis, styles = evidence.verdict.basis, run_styles(evidence.roles)
    key = {name: styles.get(name, LineStyle()) for name in evidence.models if name in evidence.runs}
    key = dict(sorted(key.items(), key=lambda item: not item[1].wide))  # the wide line is drawn first
    if basis is None or not key or evidence.manifest.classes.kind == "multiclass":
        return None
    scored = evidence.runs
    cuts = {name: scored[name].cut for name in key} | ({OBSERVER: 0.5} if OBSERVER in scored else {})
    points = {
        name: operating_point(pool(scored[name].scores, "fov"), cut)
        for name, cut in cuts.items()
        if isinstance(cut, float)
    }
    plotted: dict[str, list[Plotted]] = {"reliability": [], "roc": [], "pr": []}
    for name, style in key.items():
        counts = pool(scored[name].scores, "fov")
        plotted["reliability"].append(_reliability(name, counts, style))
        for chart, curve in (("roc", roc_curve(counts)), ("pr", precision_recall_curve(counts))):
            thinned = thin(curve, NUM_POINTS)
            plotted[chart].append(Plotted(name, thinned.x.tolist(), thinned.y.tolist(), style))
    for name, point in points.items():
        for chart, (x, y) in point.items():
            plotted[chart].append(Plotted(name, [x], [y], styles.get(name, LineStyle()), marker=True))
    limits = {
        "roc": _roc_limits([point["roc"] for point in points.values()]),
        "pr": _pr_limits([point["pr"] for point in points.values()]),
    }
    drawn = [
        charts.lines(
            name,
            title,
            plotted[name],
            x_label,
            y_label,
            description=_values(evidence, basis.split, metric),
            unit_square=name not in limits,
            limits=limits.get(name),
            diagonal=name == "reliability",
        )
        for name, (title, x_label, y_label, metric) in AXES.items()
    ]
    path = evidence.inputs["evaluate"] / CALIBRATION
    calibrated = read_json(path) if path.is_file() else {}
    return {
        "calibrated": {name: calibration_text(record) for name, record in calibrated.items()},
        "charts": drawn,
        "key": key,
        "basis": basis,
        "observer": OBSERVER in scored,
        "points": bool(points),
    }


def operating_point(counts: LevelCounts, threshold: float) -> dict[str, tuple[float, float]]:
    """The point of a threshold on each curve: (1 - specificity, sensitivity) and (sensitivity, precision)."""
    at = confusion_at(counts, threshold)
    sensitivity, false_alarms = at.tp / max(at.tp + at.fn, 1), at.fp / max(at.fp + at.tn, 1)
    return {"roc": (false_alarms, sensitivity), "pr": (sensitivity, at.tp / max(at.tp + at.fp, 1))}


Limits = tuple[tuple[float, float], tuple[float, float]]


def _roc_limits(points: list[tuple[float, float]]) -> Limits:
    """The corner around the operating points: four times their false alarms, and what lies above their sensitivity."""
    right = min(1.0, max([0.05, *(4 * x for x, _ in points)])) if points else 1.0
    return (-0.02 * right, right), (_floor(y for _, y in points), 1.01)


def _pr_limits(points: list[tuple[float, float]]) -> Limits:
    return (_floor(x for x, _ in points), 1.01), (_floor(y for _, y in points), 1.01)


def _floor(values: Iterable[float]) -> float:
    """A round number at least 0.2 below the smallest value; 0 without any."""
    return max(0.0, math.floor(10 * min(values, default=0.0) - 2) / 10)


def _reliability(name: str, counts: LevelCounts, style: LineStyle) -> Plotted:
    bins = reliability(counts)
    some = bins.num_pixels > 0
    x, y = bins.sum_probs[some] / bins.num_pixels[some], bins.num_positive[some] / bins.num_pixels[some]
    return Plotted(name, [float(value) for value in x], [float(value) for value in y], style)


def _values(evidence: Evidence, split: Split, metric: str) -> str:
    """The metric of every model, for screen readers."""
    runs = evidence.measured[split]
    values = {name: find_measurement(runs[name], metric) for name in evidence.models if name in runs}
    listed = ", ".join(f"{name} {number.value:.4f}" for name, number in values.items() if number is not None)
    return f"{HEADINGS[metric]}: {listed}"
