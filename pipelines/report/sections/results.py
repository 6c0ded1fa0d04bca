"""Tables of every metric of every run, and of paired differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.measurements import OBSERVER, SPLIT_NOTES
from pipelines.report.album import Album
from pipelines.report.comparisons import Paired
from pipelines.report.evidence import Evidence
from pipelines.report.verdict import NOUNS
from pipelines.roles import Roles
from segkit.core.files import read_json
from segkit.metrics.score import METRICS, THRESHOLD_FREE, Measurement, find
from segkit.metrics.tables import HEADINGS, tabulate

MAIN_METRICS = ("dice", "sensitivity", "specificity", "precision", "cldice", "auroc", "auprc")
"""Columns of the tables that are not folded away."""

Runs = Mapping[str, Sequence[Measurement]]


@dataclass(frozen=True)
class MetricTable:
    """Measurements by run and metric; None where a run has none."""

    heading: str
    columns: list[str]
    rows: dict[str, list[Measurement | None]]
    """By run."""
    thresholds: dict[str, float]
    """By run; without those whose map is not a probability."""


@dataclass(frozen=True)
class SplitResults:
    """The tables of one split."""

    noun: str
    note: str
    n: int
    main: list[MetricTable]
    """One per class."""
    full: list[MetricTable]
    """One per class, region, averaging and threshold source."""


@dataclass(frozen=True)
class ComparisonTable:
    """Paired differences on one split, by pair of runs."""

    title: str
    noun: str
    pairs: dict[tuple[str, str], list[Paired]]


@dataclass(frozen=True)
class Combination:
    """How the ensemble combines its members."""

    rule: str
    weights: dict[str, float]
    """By member."""
    tried: dict[str, float]
    """Validation Dice by rule, the best first."""


@dataclass(frozen=True)
class View:
    """Values of the template."""

    splits: list[SplitResults]
    observer: bool
    """Whether a second observer was scored."""
    ensemble: Combination | None
    comparisons: list[ComparisonTable]
    roles: Roles
    headings: Mapping[str, str]
    """Of columns, by metric."""


def view(evidence: Evidence, album: Album) -> View | None:
    """Measurements and comparisons; None if nothing was scored."""
    if not evidence.measured:
        return None
    return View(
        [_split(split, runs) for split, runs in evidence.measured.items()],
        any(OBSERVER in runs for runs in evidence.measured.values()),
        _combination(evidence),
        _comparisons(evidence),
        evidence.roles,
        HEADINGS,
    )


def _split(split: str, runs: Runs) -> SplitResults:
    everything = [m for measurements in runs.values() for m in measurements]
    classes = list(dict.fromkeys(m.class_name for m in everything))
    groups = dict.fromkeys(
        (m.class_name, m.region, m.averaging, m.threshold_source) for m in everything if m.threshold is not None
    )
    return SplitResults(
        NOUNS[split],
        SPLIT_NOTES[split].partition(": ")[2],
        max(m.n for m in everything),
        [_main_table(name if len(classes) > 1 else "", _of_class(runs, name)) for name in classes],
        [_full_table(runs, *group) for group in groups],
    )


def _of_class(runs: Runs, class_name: str) -> Runs:
    return {run: [m for m in measurements if m.class_name == class_name] for run, measurements in runs.items()}


def _main_table(heading: str, runs: Runs) -> MetricTable:
    """Each run at its own threshold, inside the region of interest, all images pooled."""
    rows, thresholds = {}, {}
    for run, measurements in runs.items():
        dice = find(measurements, "dice")
        source = None if dice is None else dice.threshold_source
        cells = [find(measurements, metric, threshold_source=source) for metric in MAIN_METRICS]
        if run == OBSERVER:  # a hard map cannot rank pixels
            cells = [None if m is None or m.metric in THRESHOLD_FREE else m for m in cells]
        elif dice is not None and dice.threshold is not None:
            thresholds[run] = dice.threshold
        rows[run] = [None if m is None or math.isnan(m.value) else m for m in cells]
    return MetricTable(heading, [HEADINGS[metric] for metric in MAIN_METRICS], rows, thresholds)


def _full_table(runs: Runs, class_name: str, region: str, averaging: str, source: str) -> MetricTable:
    """Every metric of the runs that were measured at this threshold source."""
    group = (class_name, region, averaging)
    chosen = {
        run: [
            m for m in ms if (m.class_name, m.region, m.averaging) == group and m.threshold_source in (source, "none")
        ]
        for run, ms in runs.items()
    }
    chosen = {run: ms for run, ms in chosen.items() if any(m.threshold is not None for m in ms)}
    metrics = [metric for metric in METRICS if any(m.metric == metric for ms in chosen.values() for m in ms)]
    rows = {run: {m.metric: m for m in ms if not math.isnan(m.value)} for run, ms in chosen.items()}
    return MetricTable(
        tabulate(chosen)[0].heading,
        [HEADINGS[metric] for metric in metrics],
        {run: [cells.get(metric) for metric in metrics] for run, cells in rows.items()},
        {run: next(m.threshold for m in ms if m.threshold is not None) for run, ms in chosen.items()},
    )


def _combination(evidence: Evidence) -> Combination | None:
    """From the ensemble's `model.json`."""
    folder = evidence.inputs.get(evidence.roles.ensemble or "")
    if folder is None or not (folder / "model.json").exists():
        return None
    details = read_json(folder / "model.json").get("details", {})
    if "rule" not in details:
        return None
    tried = {rule: candidate["val_dice"] for rule, candidate in details.get("candidates", {}).items()}
    return Combination(
        details["rule"],
        dict(zip(details["members"], details["weights"], strict=True)),
        dict(sorted(tried.items(), key=lambda item: -item[1])),
    )


def _comparisons(evidence: Evidence) -> list[ComparisonTable]:
    """For each split the comparisons of the verdict, then the others with the baseline."""
    verdict = evidence.verdict
    judged = {(finding.run, finding.reference) for finding in (*verdict.findings, verdict.ensemble) if finding}
    tables = []
    for split in evidence.measured:
        main: dict[tuple[str, str], list[Paired]] = {}
        others: dict[tuple[str, str], list[Paired]] = {}
        for paired in evidence.paired:
            if paired.split == split:
                pair = paired.run_a, paired.run_b
                (main if pair in judged else others).setdefault(pair, []).append(paired)
        tables += [
            ComparisonTable(f"Comparisons on the {NOUNS[split]}", NOUNS[split], main),
            ComparisonTable(
                f"Comparisons with the {evidence.roles.baseline} on the {NOUNS[split]}", NOUNS[split], others
            ),
        ]
    return [table for table in tables if table.pairs]
