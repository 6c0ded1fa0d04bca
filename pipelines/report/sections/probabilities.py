"""Reliability, ROC and precision-recall of all scored pixels inside the field of view."""

from dataclasses import dataclass

from pipelines.measurements import OBSERVER
from pipelines.report import charts
from pipelines.report.album import Album
from pipelines.report.charts import ChartGroup, LineStyle, Plotted, run_styles
from pipelines.report.evidence import Evidence
from segkit.metrics.curves import (
    LevelCounts,
    confusion_at,
    precision_recall_curve,
    reliability,
    roc_curve,
    thin,
)
from segkit.metrics.score import find, pool
from segkit.metrics.tables import HEADINGS

NUM_POINTS = 200
"""Of a drawn curve."""


@dataclass(frozen=True)
class View:
    """Values of the template."""

    group: ChartGroup
    noun: str
    n: int
    observer: bool
    """Whether a second observer was scored."""


def view(evidence: Evidence, album: Album) -> View | None:
    """Three charts of the models that were scored on the verdict's images; None without any."""
    basis, styles = evidence.verdict.basis, run_styles(evidence.roles)
    names = [name for name in evidence.models if name in evidence.runs]
    names.sort(key=lambda name: not styles.get(name, LineStyle()).wide)
    if basis is None or not names:
        return None
    chosen = {name: styles.get(name, LineStyle()) for name in names}
    counts = {name: pool(evidence.runs[name].scores, "fov") for name in names}
    roc, recall, calibrated = [], [], []
    for name, style in chosen.items():
        curve = thin(roc_curve(counts[name]), NUM_POINTS)
        roc.append(Plotted(name, curve.x.tolist(), curve.y.tolist(), style))
        curve = thin(precision_recall_curve(counts[name]), NUM_POINTS)
        recall.append(Plotted(name, curve.x.tolist(), curve.y.tolist(), style))
        calibrated.append(_reliability(name, counts[name], style))
    if OBSERVER in evidence.runs:
        observer = evidence.runs[OBSERVER]
        at, style = confusion_at(pool(observer.scores, "fov"), observer.threshold), styles[OBSERVER]
        sensitivity = at.tp / max(at.tp + at.fn, 1)
        roc.append(Plotted(OBSERVER, [at.fp / max(at.fp + at.tn, 1)], [sensitivity], style, marker=True))
        recall.append(Plotted(OBSERVER, [sensitivity], [at.tp / max(at.tp + at.fp, 1)], style, marker=True))
    axes = {
        "reliability": ("Reliability", calibrated, "mean probability given", "share that are vessels", "ece"),
        "roc": ("ROC", roc, "1 − specificity", "sensitivity", "auroc"),
        "pr": ("Precision-recall", recall, "sensitivity (recall)", "precision", "auprc"),
    }
    drawn = [
        charts.lines(
            name,
            title,
            plotted,
            x_label,
            y_label,
            description=_values(evidence, basis.split, metric),
            x_range=(-0.02, 1.02),
            y_range=(-0.02, 1.02),
            diagonal=name == "reliability",
            square=True,
        )
        for name, (title, plotted, x_label, y_label, metric) in axes.items()
    ]
    return View(ChartGroup(drawn, chosen), basis.noun, basis.n, OBSERVER in evidence.runs)


def _reliability(name: str, counts: LevelCounts, style: LineStyle) -> Plotted:
    bins = reliability(counts)
    some = bins.num_pixels > 0
    x, y = bins.sum_probs[some] / bins.num_pixels[some], bins.num_vessel[some] / bins.num_pixels[some]
    return Plotted(name, [float(value) for value in x], [float(value) for value in y], style)


def _values(evidence: Evidence, split: str, metric: str) -> str:
    """The metric of every model, for screen readers."""
    runs = evidence.measured[split]
    values = {name: find(runs[name], metric) for name in evidence.models if name in runs}
    listed = ", ".join(f"{name} {number.value:.4f}" for name, number in values.items() if number is not None)
    return f"{HEADINGS[metric]}: {listed}"
