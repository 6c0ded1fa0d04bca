"""The stored scores of a run, their values by image, and tables of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.results.measurements import OBSERVER, SCORED, Measured, read_measurements
from segkit.core.manifest import Split
from segkit.core.wording import is_nan
from segkit.metrics.curves import precision_recall_curve, roc_curve, thin
from segkit.metrics.measure import Measurement, find_measurement, image_values, summary_class
from segkit.metrics.metrics import METRICS
from segkit.metrics.score import ARGMAX, OWN, Cut, ImageScore, load_scores, pool

IMAGE_METRICS = ("dice", "sensitivity", "specificity", "precision", "cldice", "auroc", "auprc")
"""Columns of tables of images, where measured."""

NUM_POINTS = 200
"""Of a curve in a table."""

Cell = float | str | None


@dataclass(frozen=True)
class Run:
    """The scores of a run on one split, and the cut that turns its probabilities into a prediction."""

    name: str
    scores: Sequence[ImageScore]
    cut: Cut


def load_run(name: str, evaluation: Path, split: Split, measurements: Iterable[Measurement]) -> Run:
    """The scores of a model in the folder of an evaluation, with the cut of its measurements."""
    dice = find_measurement(measurements, "dice")
    cut: Cut = 0.5
    if dice is not None:
        without = ARGMAX if dice.threshold_source == ARGMAX else OWN
        cut = without if dice.threshold is None else dice.threshold
    return Run(name, load_scores(evaluation / "scores" / f"{split}-{name.replace(' ', '-')}.npz"), cut)


def load_split(evaluation: Path, split: Split, measured: Measured) -> dict[str, Run]:
    """All runs of one split of an evaluation, by name."""
    return {name: load_run(name, evaluation, split, numbers) for name, numbers in measured[split].items()}


def values_by_image(run: Run, metric: str, class_name: str | None = None) -> dict[str, float]:
    """A metric of each image by name, inside the field of view."""
    values = image_values(run.scores, metric, "fov", run.cut, class_name or summary_class(run.scores))
    return {score.name: float(value) for score, value in zip(run.scores, values, strict=True)}


def measured(metric: str, run: Run) -> bool:
    """Whether the saved scores hold what the metric needs."""
    return all(score.has(METRICS[metric].reduction, run.cut) for score in run.scores)


def load_runs(evaluation: Path) -> tuple[Split, dict[str, Run]] | None:
    """The most trustworthy split of an evaluation with its runs; None if nothing was scored."""
    read = read_measurements(evaluation)
    split = next((name for name in SCORED if name in read), None)
    if split is None:
        return None
    return split, load_split(evaluation, split, read)


def image_metrics(runs: Mapping[str, Run]) -> list[str]:
    """The metrics that a table of images has."""
    return [metric for metric in IMAGE_METRICS if any(_has(run, metric) for run in runs.values())]


def image_rows(runs: Mapping[str, Run]) -> list[tuple[str, str, list[float | None]]]:
    """Model, image and its metrics inside the field of view in the order of `image_metrics`; None without a value.

    Images are in the order of their names, which is not the order of folds.
    """
    metrics = image_metrics(runs)
    rows = []
    for name, run in runs.items():
        values = {metric: values_by_image(run, metric) for metric in metrics if _has(run, metric)}
        for score in sorted(run.scores, key=lambda score: score.name):
            found = [values.get(metric, {}).get(score.name) for metric in metrics]
            rows.append((name, score.name, [None if is_nan(value) else value for value in found]))
    return rows


def _has(run: Run, metric: str) -> bool:
    """Whether a run has the metric; the second observer's hard map cannot rank pixels."""
    return (run.name != OBSERVER or METRICS[metric].uses_prediction) and measured(metric, run)


def curve_rows(runs: Mapping[str, Run]) -> dict[str, list[list[Cell]]]:
    """Rows of the ROC and the precision-recall curve of a binary task: model, threshold, x, y."""
    curves = {"roc": roc_curve, "precision-recall": precision_recall_curve}
    rows: dict[str, list[list[Cell]]] = {name: [] for name in curves}
    for name, run in runs.items():
        if name == OBSERVER or run.cut == ARGMAX:
            continue
        counts = pool(run.scores, "fov")
        for chart, curve in curves.items():
            points = thin(curve(counts), NUM_POINTS)
            columns = (points.thresholds.tolist(), points.x.tolist(), points.y.tolist())
            rows[chart] += [[name, *point] for point in zip(*columns, strict=True)]
    return rows
