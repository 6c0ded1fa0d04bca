"""Paired comparisons of runs from the scores an evaluation saved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.core.groups import group_numbers
from segkit.core.manifest import Split
from segkit.metrics.confusion import Confusion, dice
from segkit.metrics.measure import Comparison, compare, image_values, summary_class, to_json
from segkit.metrics.metrics import METRICS
from segkit.metrics.region import Averaging
from segkit.metrics.score import Cut, ImageScore

COMPARED: tuple[tuple[str, Averaging], ...] = (
    ("dice", "pooled"),
    ("dice", "per-image"),
    ("sensitivity", "pooled"),
    ("precision", "pooled"),
    ("cldice", "pooled"),
    ("auroc", "pooled"),
)
"""Metrics of the table, where larger is better; the first one gives the verdict."""

MAX_EXACT = 16
"""Largest number of patients for which all swaps are enumerated."""


@dataclass(frozen=True)
class Run:
    """The scores of a run on one split, and the cut that turns its probabilities into a prediction."""

    name: str
    scores: Sequence[ImageScore]
    cut: Cut


@dataclass(frozen=True)
class Paired:
    """Run a against run b on one split."""

    split: Split
    run_a: str
    run_b: str
    comparison: Comparison
    num_better: int
    """Images on which a is above b."""


def compare_runs(
    split: Split,
    runs: Mapping[str, Run],
    pairs: Iterable[tuple[str, str]],
    *,
    num_resamples: int,
    seed: int,
) -> list[Paired]:
    """Every pair in every compared metric, inside the field of view; a pair not scored on this split is left out."""
    scored = [(runs[a], runs[b]) for a, b in pairs if a in runs and b in runs]
    return [
        _paired(split, a, b, metric, averaging, num_resamples, seed)
        for a, b in scored
        for metric, averaging in COMPARED
        if _measured(metric, a) and _measured(metric, b)
    ]


def sign_flip_p(a: Run, b: Run, seed: int = 0) -> float:
    """Two-sided p of the difference in pooled Dice inside the field of view, if the runs were interchangeable.

    Swapping the maps of a patient between interchangeable runs changes nothing; p is the share of all swaps whose
    difference is at least the observed one (Fisher 1935). Up to 16 patients all 2^n are tried, beyond that as many
    drawn by `seed`.
    """
    classes = a.scores[0].class_names
    by_name = [
        {
            score.name: np.stack([score.array(name, "fov", "confusion", run.cut) for name in classes])
            for score in run.scores
        }
        for run in (a, b)
    ]
    group_of = {score.name: score.group for score in a.scores}
    names = sorted(by_name[0])
    numbers = group_numbers([group_of[name] for name in names])
    num_groups = int(numbers.max()) + 1
    counts_a, counts_b = np.zeros((2, num_groups, len(classes), len(Confusion._fields)))
    for counts, pooled in zip(by_name, (counts_a, counts_b), strict=True):
        np.add.at(pooled, numbers, np.array([counts[name] for name in names], dtype=np.float64))
    if num_groups <= MAX_EXACT:
        swaps = (np.arange(2**num_groups)[:, None] >> np.arange(num_groups)) & 1
    else:
        swaps = np.random.default_rng(seed).integers(0, 2, (2**MAX_EXACT, num_groups))
        swaps[0] = 0  # the observed assignment is one of them
    moved = np.tensordot(swaps, counts_b - counts_a, axes=1)
    differences = np.abs(_dice(counts_a.sum(axis=0) + moved) - _dice(counts_b.sum(axis=0) - moved))
    return float(np.mean(differences >= differences[0] - 1e-12))


def _dice(pooled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dice of pooled counts (..., classes, 4), the mean over classes; that of a class that is nowhere is 0."""
    counts = Confusion(*np.moveaxis(pooled, -1, 0))
    return np.asarray(np.mean(np.nan_to_num(dice(counts.tp, counts.fp, counts.fn)), axis=-1))


def main_comparison(paired: Iterable[Paired], split: Split, run_a: str, run_b: str) -> Comparison | None:
    """The comparison that gives the verdict: pooled Dice."""
    for pair in paired:
        result = pair.comparison
        if (pair.split, pair.run_a, pair.run_b, result.metric, result.averaging) == (split, run_a, run_b, *COMPARED[0]):
            return result
    return None


def as_json(paired: Paired) -> dict[str, object]:
    """The comparison as plain values, a minus b."""
    record = {"split": paired.split, "a": paired.run_a, "b": paired.run_b, "num_better": paired.num_better}
    return record | to_json(paired.comparison)


def _paired(split: Split, a: Run, b: Run, metric: str, averaging: Averaging, num_resamples: int, seed: int) -> Paired:
    difference = compare(
        a.scores,
        b.scores,
        a.cut,
        b.cut,
        metric,
        averaging=averaging,
        num_resamples=num_resamples,
        seed=seed,
    )
    values_a, values_b = (values_by_image(run, metric) for run in (a, b))
    num_better = sum(bool(np.greater(value, values_b[name])) for name, value in values_a.items())
    return Paired(split, a.name, b.name, difference, num_better)


def values_by_image(run: Run, metric: str) -> dict[str, float]:
    """A metric of each image by name, inside the field of view."""
    values = image_values(run.scores, metric, "fov", run.cut, summary_class(run.scores))
    return {score.name: float(value) for score, value in zip(run.scores, values, strict=True)}


def _measured(metric: str, run: Run) -> bool:
    """Whether the saved scores hold what the metric needs."""
    return all(score.has(METRICS[metric].reduction, run.cut) for score in run.scores)
