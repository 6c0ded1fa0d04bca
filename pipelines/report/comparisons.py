"""Paired comparisons of runs from the scores an evaluation saved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.report.verdict import Outcome, can_decide, judge
from pipelines.results.scored_runs import Run, measured, values_by_image
from pipelines.stage_types import Roles
from segkit.core.groups import group_numbers
from segkit.core.manifest import Split
from segkit.metrics.measure import (
    Comparison,
    compare,
    pooled_statistic,
    summary_class,
    to_json,
)
from segkit.metrics.metrics import METRICS
from segkit.metrics.region import Averaging
from segkit.metrics.score import ARGMAX, OWN, ImageScore, at_own_threshold
from segkit.metrics.significance import FloatArray, mean_of

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
class Paired:
    """Run a against run b on one split."""

    split: Split
    run_a: str
    run_b: str
    comparison: Comparison
    num_better: int
    """Images on which a is better than b."""


@dataclass(frozen=True)
class Tested:
    """A difference with its sign-flip test."""

    comparison: Comparison
    p: float
    """Of the sign-flip test."""
    corrected_p: float
    """After Holm's correction for all tests of its family."""
    num_tests: int
    """Of the family. With too few patients for that many tests, none of them can give a claim."""

    @property
    def outcome(self) -> Outcome:
        """`helped` and `worse` need the interval on one side of zero and a corrected p of at most 0.05."""
        if not can_decide(self.comparison.num_groups, self.num_tests):
            return "too-few-images"
        return judge(self.comparison, self.corrected_p)


def pairs(roles: Roles) -> list[tuple[str, str]]:
    """Treated models and their controls, then all that are compared with the baseline."""
    others = [*roles.controls, *roles.compared, *([roles.ensemble] if roles.ensemble else [])]
    return list(dict.fromkeys([*roles.controls.items(), *((name, roles.baseline) for name in others)]))


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
        paired_difference(split, a, b, metric, averaging, num_resamples, seed)
        for a, b in scored
        for metric, averaging in COMPARED
        if measured(metric, a) and measured(metric, b)
    ]


def sign_flip_p(
    pairs: Sequence[tuple[Run, Run]],
    seed: int = 0,
    metric: str = "dice",
    averaging: Averaging = "pooled",
    class_name: str | None = None,
) -> float:
    """Two-sided p of the difference in a metric inside the field of view, if the runs of a pair were interchangeable.

    Swapping the maps of a patient between interchangeable runs changes nothing; p is the share of all swaps whose
    difference is at least the observed one (Fisher 1935). Up to 16 patients all 2^n are tried, beyond that as many
    drawn by `seed`. Of several pairs, one for each training seed, the mean difference counts, and a patient is swapped
    in all of them together.
    """
    differences = np.mean([_swap_differences(a, b, seed, metric, averaging, class_name) for a, b in pairs], axis=0)
    if np.isnan(differences[0]):
        return float("nan")
    # nan counts as at least the observed one
    return float(np.mean(~(np.abs(differences) < abs(differences[0]) - 1e-12)))


def _swap_differences(
    a: Run, b: Run, seed: int, metric: str, averaging: Averaging, class_name: str | None
) -> FloatArray:
    """The difference under each swap of patients, the observed one first."""
    n = len(a.scores)
    scores = [*at_common_cut(a), *at_common_cut(b)]
    cut = ARGMAX if a.cut == ARGMAX else OWN
    statistic = pooled_statistic(scores, metric, "fov", cut, class_name or summary_class(a.scores))
    if averaging == "per-image":
        values = statistic(np.eye(2 * n, dtype=np.int64)).reshape(2, n)
        statistic = mean_of(np.where(np.isfinite(values).all(axis=0), values, np.nan).ravel())
    numbers = group_numbers([score.group for score in scores[:n]])
    swapped = all_swaps(int(numbers.max()) + 1, seed)[:, numbers]
    chosen = np.hstack([1 - swapped, swapped])  # of all scores, those of the first run after the swap
    return statistic(chosen) - statistic(1 - chosen)


def all_swaps(num_patients: int, seed: int) -> npt.NDArray[np.int64]:
    """0 and 1 (swaps, patients): the observed assignment, which swaps none, and all others or as many as are drawn."""
    if num_patients <= MAX_EXACT:
        return (np.arange(2**num_patients)[:, None] >> np.arange(num_patients)) & 1
    swaps = np.random.default_rng(seed).integers(0, 2, (2**MAX_EXACT, num_patients))
    swaps[0] = 0
    return swaps


def at_common_cut(run: Run) -> list[ImageScore]:
    """The scores by name, with the arrays at the run's threshold under the cut `OWN`."""
    scores = sorted(run.scores, key=lambda score: score.name)
    cut = run.cut
    return [at_own_threshold(score, cut) for score in scores] if isinstance(cut, float) else scores


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


def paired_difference(
    split: Split,
    a: Run,
    b: Run,
    metric: str,
    averaging: Averaging,
    num_resamples: int,
    seed: int,
    class_name: str | None = None,
) -> Paired:
    """Run a against run b in one metric inside the field of view; by default of the only class, or of all together."""
    difference = compare(
        a.scores,
        b.scores,
        a.cut,
        b.cut,
        metric,
        class_name=class_name,
        averaging=averaging,
        num_resamples=num_resamples,
        seed=seed,
    )
    values_a, values_b = (values_by_image(run, metric, class_name) for run in (a, b))
    better = np.greater if METRICS[metric].larger_is_better else np.less
    num_better = sum(bool(better(value, values_b[name])) for name, value in values_a.items())
    return Paired(split, a.name, b.name, difference, num_better)
