"""Comparison of finished runs: the settings that differ, scores, and paired tests against one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.report.comparisons import Paired, Tested, paired_difference, sign_flip_p
from pipelines.results.measurements import common_split
from pipelines.results.scored_runs import IMAGE_METRICS, Run, load_run, measured
from pipelines.run_comparison.finished import FinishedRun, model_names, short_ids
from segkit.core.errors import RequestError
from segkit.core.manifest import Split
from segkit.metrics.measure import Measurement, find_measurement, summary_class
from segkit.metrics.metrics import METRICS, check_metric
from segkit.metrics.region import Averaging, Region
from segkit.metrics.significance import holm

NUM_RESAMPLES = 2000
"""Of the paired bootstrap."""
OUTCOMES = {"helped": "better", "worse": "worse", "no-evidence": "no evidence", "too-few-images": "too few patients"}
SWAPPED = {"better": "worse", "worse": "better"}


@dataclass(frozen=True)
class ScoredRun:
    """A run with the scores of one model on the compared images."""

    id: str
    """Unique prefix of its fingerprint."""
    run: FinishedRun
    model: str
    scores: Run
    measurements: Sequence[Measurement]
    """On the compared split."""

    def number(self, metric: str, class_name: str) -> Measurement | None:
        """A score in the main region with its interval; pooled, if the metric has a pooled value."""
        return find_measurement(self.measurements, metric, averaging=averaging_of(metric), class_name=class_name)


@dataclass(frozen=True)
class Difference(Tested):
    """A run minus the baseline in one metric of one class."""

    id: str
    """Of the run."""
    num_better: int
    """Images on which the run is better."""

    @property
    def metric(self) -> str:
        return self.comparison.metric

    @property
    def class_name(self) -> str:
        return self.comparison.class_name

    @property
    def result(self) -> str:
        """The outcome in words; a smaller value of some metrics is better."""
        result = OUTCOMES[self.outcome]
        return result if METRICS[self.metric].larger_is_better else SWAPPED.get(result, result)


@dataclass(frozen=True)
class RunComparison:
    """Several runs, compared on the same images."""

    split: Split
    baseline: ScoredRun
    others: tuple[ScoredRun, ...]
    settings: Mapping[str, Mapping[str, object]]
    """Settings that differ: the value in each run by its id, None where it has none; by dotted key."""
    classes: tuple[str, ...]
    """Classes of the tables; first the summary."""
    differences: tuple[Difference, ...]
    """Of each metric and class, the runs in their order."""

    @property
    def runs(self) -> tuple[ScoredRun, ...]:
        return (self.baseline, *self.others)

    @property
    def metrics(self) -> list[str]:
        """Metrics of the main table: those of which a run has a value."""
        summary = self.classes[0]
        return [name for name in IMAGE_METRICS if any(run.number(name, summary) is not None for run in self.runs)]

    @property
    def region(self) -> Region:
        """Of the scores and differences."""
        return self.baseline.measurements[0].region

    @property
    def size(self) -> tuple[int, int]:
        """Numbers of images and of their patients."""
        scores = self.baseline.scores.scores
        return len(scores), len({score.group for score in scores})


def compare_runs(
    runs: Sequence[FinishedRun],
    *,
    model: str | None = None,
    metrics: Sequence[str] = ("dice",),
    per_class: bool = False,
    seed: int = 0,
) -> RunComparison:
    """Compare runs on the most trustworthy split that all have, each against the first.

    The p-values of all differences are corrected together.

    Args:
        runs: at least two, the baseline first.
        model: of every run; by default the ensemble, or else the baseline of its recipe.
        per_class: also test each of several classes.

    Raises:
        RequestError: there are fewer than two runs, they were scored on different images, or a model or metric is
            missing.
    """
    for metric in metrics:
        check_metric(metric)
    distinct = list({run.fingerprint: run for run in runs}.values())
    if len(distinct) < 2:
        raise RequestError("a comparison needs at least two different runs; `segkit runs list` lists them")
    ids = short_ids(distinct)
    split = _common_split(distinct, ids)
    baseline, *others = [_scored(run, ids[run.fingerprint], split, model) for run in distinct]
    summary = summary_class(baseline.scores.scores)
    names = baseline.scores.scores[0].class_names
    classes = (summary, *names) if per_class and len(names) > 1 else (summary,)
    pairs = [
        (other, _paired(split, other, baseline, metric, name, seed), metric, name)
        for name in classes
        for metric in metrics
        if name == summary or not METRICS[metric].of_the_map
        for other in others
    ]
    p_values = [
        sign_flip_p([(other.scores, baseline.scores)], seed, metric, averaging_of(metric), name)
        for other, _, metric, name in pairs
    ]
    differences = [
        Difference(paired.comparison, p, corrected, len(pairs), other.id, paired.num_better)
        for (other, paired, _, _), p, corrected in zip(pairs, p_values, holm(p_values), strict=True)
    ]
    settings = differing_settings({ids[run.fingerprint]: run for run in distinct})
    return RunComparison(split, baseline, tuple(others), settings, classes, tuple(differences))


def averaging_of(metric: str) -> Averaging:
    """Pooled, or the mean over images for a metric without a pooled value."""
    return "per-image" if METRICS[metric].per_image_only else "pooled"


def differing_settings(runs: Mapping[str, FinishedRun]) -> dict[str, dict[str, object]]:
    """Recipe, data, commit and every setting that is not the same in all runs, by dotted key and id of the run."""
    flat = {
        name: {
            "recipe": run.recipe,
            "data set": run.dataset,
            "data sha256": run.data_digest,
            "segkit commit": run.record.get("git_commit"),
            **run.settings,
        }
        for name, run in runs.items()
    }
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    rows = {key: {name: values.get(key) for name, values in flat.items()} for key in keys}
    return {key: row for key, row in rows.items() if any(value != next(iter(row.values())) for value in row.values())}


def _common_split(runs: Sequence[FinishedRun], ids: Mapping[str, str]) -> Split:
    """The most trustworthy split on which all runs were scored."""
    split = common_split([run.measured for run in runs])
    if split is not None:
        return split
    scored = "; ".join(f"{ids[run.fingerprint]} on {', '.join(run.measured) or 'none'}" for run in runs)
    raise RequestError(
        f"the runs were scored on different splits ({scored}); a paired comparison needs the same images"
    )


def _scored(run: FinishedRun, run_id: str, split: Split, model: str | None) -> ScoredRun:
    name = model or run.main_model(split)
    if name not in run.measured[split]:
        known = ", ".join(model_names(run, split))
        raise RequestError(f"run {run_id} has no model {name!r} scored on {split}; give --model, one of {known}")
    measurements = run.measured[split][name]
    return ScoredRun(run_id, run, name, load_run(name, run.evaluation, split, measurements), measurements)


def _paired(split: Split, a: ScoredRun, b: ScoredRun, metric: str, class_name: str, seed: int) -> Paired:
    """Run a minus run b; errors name the two runs."""
    for scored in (a, b):
        if not measured(metric, scored.scores):
            raise RequestError(
                f"run {scored.id} was not scored for {metric}; add it to evaluate.metrics and run the pipeline again"
            )
    try:
        return paired_difference(
            split, a.scores, b.scores, metric, averaging_of(metric), NUM_RESAMPLES, seed, class_name
        )
    except RequestError as error:
        raise RequestError(f"runs {a.id} and {b.id} cannot be compared: {error}") from error
