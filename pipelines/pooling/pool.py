"""Scores and paired differences of each choice of settings, pooled over the seeds and folds of its cells."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.report import comparisons
from pipelines.report.comparisons import COMPARED, Tested
from pipelines.report.verdict import Basis, SplitSize, choose_basis
from pipelines.results.measurements import SCORED, Measured, common_split, read_measurements
from pipelines.results.scored_runs import Run, load_split
from pipelines.results.scored_runs import measured as is_measured
from pipelines.stage_types import CellRecord, PoolRequest, Roles
from segkit.core.errors import RequestError
from segkit.core.manifest import Split, read_manifest
from segkit.metrics.measure import Comparison, pooled_statistic, summary_class
from segkit.metrics.region import Region
from segkit.metrics.score import ARGMAX, OWN, regions_of
from segkit.metrics.significance import SeedMean, Statistic, holm, seed_bootstrap

METRICS = ("dice", "sensitivity", "specificity", "precision", "accuracy", "auroc", "cldice")
"""Scored metrics, all images pooled."""
DIFFERENCES = tuple(metric for metric, averaging in COMPARED if averaging == "pooled")
"""Compared metrics; the first one is tested."""


@dataclass(frozen=True)
class Cell:
    """A run of the recipe, and what is missing of it."""

    record: CellRecord
    folders: Mapping[str, Path]
    """Of its finished stages, by name in the recipe."""

    @property
    def missing(self) -> list[str]:
        """Stages without a result, the first to fail before those that need it."""
        return [stage for stage in self.record.stages if stage not in self.folders]


@dataclass(frozen=True)
class Setting:
    """One choice of settings with the seeds of which all folds are complete."""

    label: str
    """As in "truncation_psi = 0.5"; empty without a grid."""
    values: Mapping[str, str]
    cells: tuple[Cell, ...]
    runs: Mapping[int, Mapping[str, Run]]
    """Scores on all images by seed and model."""

    @property
    def name(self) -> str:
        """The label, or "all" without a grid."""
        return self.label or "all"


@dataclass(frozen=True)
class Score:
    """A metric of a model, averaged over seeds."""

    setting: Setting
    model: str
    metric: str
    region: Region
    mean: SeedMean
    n: int
    num_groups: int


@dataclass(frozen=True)
class Difference(Tested):
    """A model against its reference in one metric, averaged over seeds; p is nan where it is not tested."""

    setting: Setting
    run: str
    reference: str
    by_seed: tuple[float, ...]
    is_verdict: bool
    """Whether it is one of the comparisons that give the verdict."""

    @property
    def is_tested(self) -> bool:
        """Whether it is a difference in pooled Dice."""
        return self.comparison.metric == DIFFERENCES[0]

    @property
    def num_better(self) -> int:
        """Seeds in which the model is better than its reference."""
        return sum(value > 0 for value in self.by_seed)


@dataclass(frozen=True)
class Pooled:
    """Everything the pooled report shows."""

    request: PoolRequest
    basis: Basis
    phantoms: bool
    settings: tuple[Setting, ...]
    """Those with at least one complete seed."""
    cells: tuple[Cell, ...]
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]

    @property
    def region(self) -> Region:
        """The pixels of the main numbers: the field of view, or all where the images have none."""
        return self.scores[0].region

    @property
    def axes(self) -> list[str]:
        """Dotted keys of the grid."""
        return list(dict.fromkeys(axis for cell in self.cells for axis in cell.record.values))

    @property
    def failed(self) -> list[Cell]:
        """Cells without a complete result."""
        return [cell for cell in self.cells if cell.missing]

    @property
    def verdict_differences(self) -> list[Difference]:
        """Pooled Dice of each treated model against its control, or of each compared model against the baseline."""
        return [item for item in self.differences if item.is_verdict and item.is_tested]


def pool(request: PoolRequest, inputs: Mapping[str, Path], seed: int) -> Pooled:
    """Read the scores of all complete cells and pool them.

    Raises:
        RequestError: no cell is complete, or the cells were scored on different images.
    """
    cells = tuple(
        Cell(record, {inner: inputs[name] for inner, name in record.stages.items() if name in inputs})
        for record in request.cells
    )
    measured = {cell.record.name: read_measurements(cell.folders["evaluate"]) for cell in cells if not cell.missing}
    if not measured:
        raise RequestError("no cell is complete, so there is nothing to pool; see the errors of their stages above")
    split = common_split(list(measured.values()))
    if split is None:
        raise RequestError("no split was scored in all cells; score the same images in each")
    settings = _settings(cells, measured, split)
    basis, phantoms = _basis(settings, split)
    num_resamples = request.pool.num_resamples
    scores = [score for setting in settings for score in _scores(setting, num_resamples, seed)]
    differences = _tested(
        [item for setting in settings for item in _differences(setting, request.roles, num_resamples, seed)],
        seed,
    )
    return Pooled(request, basis, phantoms, settings, cells, tuple(scores), tuple(differences))


def _settings(cells: Sequence[Cell], measured: Mapping[str, Measured], split: Split) -> tuple[Setting, ...]:
    groups: dict[tuple[tuple[str, str], ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell.record.values.items()), []).append(cell)
    settings = []
    for values, members in groups.items():
        by_seed: dict[int, list[Cell]] = {}
        for cell in members:
            by_seed.setdefault(cell.record.seed, []).append(cell)
        runs = {
            seed: _joined([load_split(cell.folders["evaluate"], split, measured[cell.record.name]) for cell in folds])
            for seed, folds in by_seed.items()
            if not any(cell.missing for cell in folds)
        }
        if runs:
            label = ", ".join(f"{axis.rpartition('.')[2]} = {value}" for axis, value in values)
            settings.append(Setting(label, dict(values), tuple(members), runs))
    return tuple(settings)


def _joined(folds: Sequence[Mapping[str, Run]]) -> dict[str, Run]:
    """The runs of all folds as one, each image at the threshold of its fold."""
    if len(folds) == 1:
        return dict(folds[0])
    joined = {}
    for name, first in folds[0].items():
        scores = [score for fold in folds for score in comparisons.at_common_cut(fold[name])]
        joined[name] = Run(name, scores, ARGMAX if first.cut == ARGMAX else OWN)
    return joined


def _basis(settings: Sequence[Setting], split: Split) -> tuple[Basis, bool]:
    """The images behind the verdict, and whether they are phantoms."""
    first = settings[0]
    seed = next(iter(first.runs))
    folds = [cell for cell in first.cells if cell.record.seed == seed]
    scores = next(iter(first.runs[seed].values())).scores
    manifests = [read_manifest(_data_folder(cell)) for cell in folds]
    sizes = {name: SplitSize.of(manifests[0].split(name)) for name in SCORED}
    sizes[split] = SplitSize(
        sum(len(manifest.split(split)) for manifest in manifests), len(scores), len({score.group for score in scores})
    )
    basis = choose_basis([split], sizes)
    assert basis is not None
    return basis, any(row.origin == "phantom" for row in manifests[0].rows)


def _data_folder(cell: Cell) -> Path:
    """The manifest that the cell's networks read: of its fold, or else of the data set."""
    fold = cell.record.fold
    return cell.folders["data" if fold is None else f"fold-{fold}"]


def _statistic(run: Run, metric: str, region: Region = "fov") -> Statistic:
    """The metric of all images together, in the order of their names."""
    scores = sorted(run.scores, key=lambda score: score.name)
    return pooled_statistic(scores, metric, region, run.cut, summary_class(scores))


def _scores(setting: Setting, num_resamples: int, seed: int) -> list[Score]:
    runs = list(setting.runs.values())
    scores = []
    for model in runs[0]:
        own = [run[model] for run in runs]
        groups = _groups(own[0])
        for metric in METRICS:
            if not all(is_measured(metric, run) for run in own):
                continue
            for region in regions_of(own[0].scores):
                statistics = [_statistic(run, metric, region) for run in own]
                mean = seed_bootstrap(statistics, len(groups), groups=groups, num_resamples=num_resamples, seed=seed)
                if math.isfinite(mean.value):
                    scores.append(Score(setting, model, metric, region, mean, len(groups), len(set(groups))))
    return scores


def _groups(run: Run) -> list[str]:
    return [score.group for score in sorted(run.scores, key=lambda score: score.name)]


def _differences(setting: Setting, roles: Roles, num_resamples: int, seed: int) -> list[Difference]:
    """Untested differences in all compared metrics."""
    runs = list(setting.runs.values())
    verdict = list(roles.controls.items()) or [(name, roles.baseline) for name in roles.compared]
    differences = []
    for a, b in comparisons.pairs(roles):
        if a not in runs[0] or b not in runs[0]:
            continue
        scores, groups = runs[0][a].scores, _groups(runs[0][a])
        for metric in DIFFERENCES:
            if not all(is_measured(metric, run[name]) for run in runs for name in (a, b)):
                continue
            statistics = [_minus(_statistic(run[a], metric), _statistic(run[b], metric)) for run in runs]
            mean = seed_bootstrap(statistics, len(groups), groups=groups, num_resamples=num_resamples, seed=seed)
            comparison = Comparison(
                *(mean.value, mean.low, mean.high, len(groups), len(set(groups)), mean.share_above_zero),
                *(metric, summary_class(scores), regions_of(scores)[0], "pooled"),
                threshold_a=None,
                threshold_b=None,  # one per seed
            )
            differences.append(
                Difference(comparison, math.nan, math.nan, 1, setting, a, b, mean.by_seed, (a, b) in verdict)
            )
    return differences


def _minus(a: Statistic, b: Statistic) -> Statistic:
    return lambda multiplicities: a(multiplicities) - b(multiplicities)


def _tested(differences: Sequence[Difference], seed: int) -> list[Difference]:
    """With sign-flip tests of pooled Dice, corrected among those that give the verdict and among all others."""
    tested = list(differences)
    for family in (True, False):
        numbers = [n for n, item in enumerate(tested) if item.is_verdict == family and item.is_tested]
        p_values = [_p(tested[n], seed) for n in numbers]
        for n, p, corrected in zip(numbers, p_values, holm(p_values), strict=True):
            tested[n] = replace(tested[n], p=p, corrected_p=corrected, num_tests=len(numbers))
    return tested


def _p(difference: Difference, seed: int) -> float:
    pairs = [(run[difference.run], run[difference.reference]) for run in difference.setting.runs.values()]
    return comparisons.sign_flip_p(pairs, seed)
