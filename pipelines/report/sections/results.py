"""Tables of every metric of every run, and of paired differences."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.report.album import Album
from pipelines.report.comparisons import Paired
from pipelines.report.evidence import Evidence
from pipelines.report.verdict import NOUNS
from pipelines.results.measurements import OBSERVER, SPLIT_NOTES
from pipelines.results.scored_runs import IMAGE_METRICS
from segkit.core.files import read_json
from segkit.core.manifest import Split
from segkit.core.wording import of_patients
from segkit.metrics.measure import Measurement, find_measurement
from segkit.metrics.metrics import METRICS
from segkit.metrics.tables import HEADINGS, comparable, heading_of

Runs = Mapping[str, Sequence[Measurement]]


@dataclass(frozen=True)
class MetricTable:
    """Measurements by run and metric; None where a run has none."""

    heading: str
    columns: Sequence[str]
    """Names of metrics."""
    rows: dict[str, list[Measurement | None]]
    thresholds: dict[str, float]
    """By run; a hard map has none."""


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """Measurements and comparisons; None if nothing was scored."""
    if not evidence.measured:
        return None
    return {
        "splits": [_split(split, runs) for split, runs in evidence.measured.items()],
        "cut": any(m.threshold is not None for runs in evidence.measured.values() for ms in runs.values() for m in ms),
        "folds": "out-of-fold" in evidence.measured,
        "binary": evidence.manifest.classes.kind == "binary",
        "observer": any(OBSERVER in runs for runs in evidence.measured.values()),
        "ensemble": _combination(evidence),
        "comparisons": _comparisons(evidence),
        "roles": evidence.roles,
        "headings": HEADINGS,
    }


def _split(split: Split, runs: Runs) -> dict[str, object]:
    """The main table of each class, and a table per class, region, averaging and threshold source."""
    everything = [m for measurements in runs.values() for m in measurements]
    classes = dict.fromkeys(m.class_name for m in everything)
    sources = list(dict.fromkeys(m.threshold_source for m in everything))
    full = sorted(comparable(runs), key=lambda item: sources.index(item[0]))
    return {
        "noun": NOUNS[split],
        "note": SPLIT_NOTES[split].partition(": ")[2],
        **_size((m.n, m.num_groups) for m in everything),
        "main": [_main_table(runs, name, f", class {name}" if len(classes) > 1 else "") for name in classes],
        "full": [_full_table(source, chosen) for source, chosen in full if source != "none"],
    }


def _size(sizes: Iterable[tuple[int, int]]) -> dict[str, object]:
    """The largest of several numbers of images and patients, and what intervals over them resample."""
    n, num_groups = max(sizes, default=(0, 0))
    unit = "images" if num_groups == n else "patients"
    return {"n": n, "of_patients": of_patients(n, num_groups), "unit": unit}


def _main_table(runs: Runs, class_name: str, heading: str) -> MetricTable:
    """Each run at its own threshold, inside the field of view, all images pooled."""
    rows, thresholds = {}, {}
    for run, measurements in runs.items():
        of_class = [m for m in measurements if m.class_name == class_name]
        dice = find_measurement(of_class, "dice")
        source = dice.threshold_source if dice else None
        cells = [find_measurement(of_class, metric, threshold_source=source) for metric in IMAGE_METRICS]
        if run == OBSERVER:  # a hard map cannot rank pixels
            cells = [m if m and METRICS[m.metric].uses_prediction else None for m in cells]
        elif dice is not None and dice.threshold is not None:
            thresholds[run] = dice.threshold
        rows[run] = [None if m is None or math.isnan(m.value) else m for m in cells]
    return MetricTable(heading, IMAGE_METRICS, rows, thresholds)


def _full_table(source: str, runs: Runs) -> MetricTable:
    """Every metric of the runs that were measured at this threshold source."""
    chosen = {run: ms for run, ms in runs.items() if any(m.threshold_source == source for m in ms)}
    thresholds = {run: m.threshold for run, ms in chosen.items() for m in ms if m.threshold is not None}
    by_metric = {run: {m.metric: m for m in ms if not math.isnan(m.value)} for run, ms in chosen.items()}
    metrics = [metric for metric in METRICS if any(metric in cells for cells in by_metric.values())]
    rows = {run: [cells.get(metric) for metric in metrics] for run, cells in by_metric.items()}
    heading = heading_of(source, [m for ms in chosen.values() for m in ms])
    return MetricTable(heading, metrics, rows, thresholds)


def _combination(evidence: Evidence) -> dict[str, object] | None:
    """How the ensemble combines its members, from its `model.json`."""
    folder = evidence.inputs.get(evidence.roles.ensemble or "")
    if folder is None or not (folder / "model.json").exists():
        return None
    details = read_json(folder / "model.json").get("details", {})
    if "rule" not in details:
        return None
    tried = {rule: candidate["val_dice"] for rule, candidate in details.get("candidates", {}).items()}
    return {
        "rule": details["rule"],
        "weights": dict(zip(details["members"], details["weights"], strict=True)),
        "tried": dict(sorted(tried.items(), key=lambda item: -item[1])),
    }


def _comparisons(evidence: Evidence) -> list[dict[str, object]]:
    """For each split a table of the verdict's comparisons, then one of the others with the baseline."""
    judged = {(finding.run, finding.reference) for finding in evidence.verdict.all_findings}
    tables: list[dict[str, object]] = []
    for split in evidence.measured:
        main: dict[tuple[str, str], list[Paired]] = {}
        others: dict[tuple[str, str], list[Paired]] = {}
        for paired in evidence.paired:
            if paired.split == split:
                pair = paired.run_a, paired.run_b
                (main if pair in judged else others).setdefault(pair, []).append(paired)
        noun = NOUNS[split]
        baseline = f"Comparisons with the {evidence.roles.baseline} on the {noun}"
        for title, pairs in ((f"Comparisons on the {noun}", main), (baseline, others)):
            sizes = [(paired.comparison.n, paired.comparison.num_groups) for rows in pairs.values() for paired in rows]
            tables.append({"title": title, "noun": noun, "pairs": pairs, **_size(sizes)})
    return [table for table in tables if table["pairs"]]
