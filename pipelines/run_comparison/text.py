"""Finished runs and their comparison as tables for a terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipelines.report.verdict import NOUNS, has_interval, signed
from pipelines.run_comparison.finished import FinishedRun, Listing, short_ids
from segkit.core.wording import counted, of_patients
from segkit.metrics.measure import to_json
from segkit.metrics.tables import HEADINGS, Table, cell, metric_tables

if TYPE_CHECKING:
    from pipelines.run_comparison.compare import Difference, RunComparison, ScoredRun  # loads torch

NONE = "–"


# one folder and one run -----------------------------------------------------------------------------------------------


def run_table(listing: Listing) -> Table:
    """A row for each finished run."""
    ids = short_ids(listing.runs)
    columns = ("Run", "Finished", "Recipe", "Title", "Data", "Networks", "Scored on", "Dice (F1)", "AUROC", "Minutes")
    rows = [dict(zip(columns, (ids[run.fingerprint], *_run_cells(run)), strict=True)) for run in listing.runs]
    return Table("Pooled over images, inside the field of view", columns, rows)


def _run_cells(run: FinishedRun) -> list[str]:
    score = run.main_score
    title = run.request.report.title
    scored = [NONE] * 3
    if score is not None:
        auroc = NONE if score.auroc is None else f"{score.auroc.value:.4f}"
        scored = [f"{score.split}, {score.model}", f"{score.dice.value:.4f}", auroc]
    networks = ", ".join(run.networks) or NONE
    return [
        f"{run.finished:%F %H:%M}",
        run.recipe or NONE,
        title,
        run.dataset or NONE,
        networks,
        *scored,
        f"{run.minutes:.1f}",
    ]


def listing_notes(listing: Listing) -> list[str]:
    """Lines below the table: pipelines that are not in it."""
    notes = []
    if listing.num_unfinished:
        notes.append(f"{counted(listing.num_unfinished, 'unfinished pipeline')} not listed")
    if listing.unreadable:
        names = ", ".join(folder.name for folder in listing.unreadable)
        notes.append(f"made by another version of segkit and not listed: {names}")
    return notes


def listing_json(listing: Listing) -> dict[str, object]:
    """The listing as plain values."""
    ids = short_ids(listing.runs)
    return {
        "runs": [run_json(run, ids[run.fingerprint]) for run in listing.runs],
        "num_unfinished": listing.num_unfinished,
        "unreadable": [str(folder) for folder in listing.unreadable],
    }


def run_json(run: FinishedRun, run_id: str) -> dict[str, object]:
    """A run as plain values."""
    score = run.main_score
    return {
        "id": run_id,
        "fingerprint": run.fingerprint,
        "folder": str(run.folder),
        "finished": run.finished.isoformat(),
        "recipe": run.recipe,
        "title": run.request.report.title,
        "dataset": run.dataset,
        "networks": list(run.networks),
        "minutes": round(run.minutes, 2),
        "main_score": score
        and {
            "split": score.split,
            "model": score.model,
            "dice": to_json(score.dice),
            "auroc": score.auroc and to_json(score.auroc),
        },
    }


def summary(run: FinishedRun) -> str:
    """A run in one line."""
    recipe = run.recipe or "unknown recipe"
    data = run.dataset or "unknown data"
    return f"{run.fingerprint[:12]}: {recipe} on {data}, finished {run.finished:%F %H:%M}, {run.minutes:.1f} minutes"


def run_tables(run: FinishedRun) -> list[Table]:
    """Stages, changed settings and scores of a run; no table without rows."""
    return [table for table in (_stage_table(run), _changed_settings_table(run), *_main_tables(run)) if table.rows]


def _stage_table(run: FinishedRun) -> Table:
    """A row for each stage of a run."""
    columns = ("Stage", "State", "Seconds", "Folder")
    rows = []
    for stage in run.stages:
        seconds = (stage.record or {}).get("seconds")
        cells = (stage.name, stage.state, NONE if seconds is None else f"{seconds:.1f}", str(stage.folder))
        rows.append(dict(zip(columns, cells, strict=True)))
    return Table("Stages", columns, rows)


def _changed_settings_table(run: FinishedRun) -> Table:
    """The settings of a run that differ from the defaults."""
    columns = ("Setting", "Value", "Default")
    rows = [
        {"Setting": key, "Value": value_text(value), "Default": value_text(default)}
        for key, (default, value) in run.changed_settings.items()
    ]
    return Table(f"Settings that differ from the defaults of {run.recipe or 'an unknown recipe'}", columns, rows)


def _main_tables(run: FinishedRun) -> list[Table]:
    """The scores of the main model on the most trustworthy split, inside the field of view, by class."""
    score = run.main_score
    if score is None:
        return []
    measurements = [m for m in run.measured[score.split][score.model] if m.region == "fov"]
    return metric_tables(measurements)


# a comparison ---------------------------------------------------------------------------------------------------------


def comparison_tables(comparison: RunComparison) -> list[Table]:
    """Settings that differ, if any, scores, and paired differences."""
    settings = _settings_table(comparison)
    return [*([settings] if settings.rows else []), *_score_tables(comparison), _difference_table(comparison)]


def _settings_table(comparison: RunComparison) -> Table:
    """A row for each setting that differs."""
    columns = ("Setting", *(run.id for run in comparison.runs))
    rows = [
        {"Setting": key, **{run.id: value_text(values[run.id]) for run in comparison.runs}}
        for key, values in comparison.settings.items()
    ]
    return Table("Settings that differ", columns, rows)


def _score_tables(comparison: RunComparison) -> list[Table]:
    """The main metrics of the runs, a table for each class."""
    columns = ("Run", "Model", "Threshold", *(HEADINGS[metric] for metric in comparison.metrics))
    tables = []
    for class_name in comparison.classes:
        rows = []
        for run in comparison.runs:
            numbers = {metric: run.number(metric, class_name) for metric in comparison.metrics}
            cells = {HEADINGS[metric]: NONE if number is None else cell(number) for metric, number in numbers.items()}
            rows.append({"Run": run.id, "Model": run.model, "Threshold": threshold_text(run), **cells})
        tables.append(Table(f"Scores on {images_text(comparison)}, class {class_name}, pooled", columns, rows))
    return tables


def _difference_table(comparison: RunComparison) -> Table:
    """A row for each paired difference."""
    columns = ("Run", "Class", "Metric", "Difference", "p", "p (Holm)", "Better on", "Outcome")
    rows = []
    for item in comparison.differences:
        difference = item.paired.comparison
        interval = f" [{signed(difference.low)}, {signed(difference.high)}]" if has_interval(difference) else ""
        cells = (
            *(item.id, item.class_name, HEADINGS[item.metric], signed(difference.difference) + interval),
            *(f"{item.tested.p:.2g}", f"{item.tested.corrected_p:.2g}"),
            *(f"{item.paired.num_better} of {difference.n}", item.outcome),
        )
        rows.append(dict(zip(columns, cells, strict=True)))
    return Table(
        f"Paired differences: run minus baseline {comparison.baseline.id}; {method_text(comparison)}", columns, rows
    )


def images_text(comparison: RunComparison) -> str:
    """ "20 test images", "28 held-out images of 14 patients"."""
    n, num_groups = comparison.size
    return f"{n} {NOUNS[comparison.split]}{of_patients(n, num_groups)}, inside the field of view"


def method_text(comparison: RunComparison) -> str:
    """How the differences were tested."""
    tests = counted(len(comparison.differences), "comparison")
    return f"95 % intervals of a paired bootstrap over patients, sign-flip test, Holm's correction for {tests}"


def sentence(item: Difference, baseline: str) -> str:
    """The result of a paired difference in one sentence."""
    difference = item.paired.comparison
    interval = f" [{signed(difference.low)}, {signed(difference.high)}]" if has_interval(difference) else ""
    verb = {
        "better": "is better than",
        "worse": "is worse than",
        "no evidence": "does not differ demonstrably from",
        "too few patients": "cannot be told from",
    }[item.outcome]
    return (
        f"{item.id} {verb} {baseline} in {HEADINGS[item.metric]}: {signed(difference.difference)}{interval}, "
        f"p = {item.tested.p:.2g}, p (Holm) = {item.tested.corrected_p:.2g}"
    )


def threshold_text(run: ScoredRun) -> str:
    """The threshold of a run; how its predictions are made if there is no single one."""
    cut = run.scores.cut
    return f"{cut:.4f}" if isinstance(cut, float) else {"own": "per fold", "argmax": "argmax"}[cut]


def value_text(value: object) -> str:
    """A setting as in YAML; a dash for None and empty text."""
    if value is None or value == "":
        return NONE
    return value if isinstance(value, str) else json.dumps(value)


def comparison_json(comparison: RunComparison) -> dict[str, object]:
    """The comparison as plain values."""
    n, num_groups = comparison.size
    return {
        "baseline": comparison.baseline.id,
        "split": comparison.split,
        "n": n,
        "num_groups": num_groups,
        "settings": {key: dict(values) for key, values in comparison.settings.items()},
        "runs": [
            {
                **run_json(run.run, run.id),
                "model": run.model,
                "scores": [
                    to_json(number)
                    for class_name in comparison.classes
                    for metric in comparison.metrics
                    if (number := run.number(metric, class_name)) is not None
                ],
            }
            for run in comparison.runs
        ],
        "differences": [
            {
                "run": item.id,
                **to_json(item.paired.comparison),
                "num_better": item.paired.num_better,
                "p": item.tested.p,
                "corrected_p": item.tested.corrected_p,
                "outcome": item.outcome,
            }
            for item in comparison.differences
        ],
    }


CSV_COLUMNS = (
    *("run", "recipe", "model", "split", "class", "metric", "value", "low", "high", "n", "num_groups", "threshold"),
    *("baseline", "difference", "difference_low", "difference_high", "p", "corrected_p", "outcome"),
)


def comparison_csv(comparison: RunComparison) -> str:
    """A row for each run, class and metric; the columns from `baseline` on are empty where nothing was tested."""
    tested = {(item.id, item.class_name, item.metric): item for item in comparison.differences}
    metrics = dict.fromkeys([*comparison.metrics, *(item.metric for item in comparison.differences)])
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for run in comparison.runs:
        for class_name in comparison.classes:
            for metric in metrics:
                row = _csv_score(comparison, run, class_name, metric)
                if row is not None:
                    writer.writerow(row | _csv_difference(comparison, tested.get((run.id, class_name, metric))))
    return text.getvalue()


def _csv_score(comparison: RunComparison, run: ScoredRun, class_name: str, metric: str) -> dict[str, object] | None:
    number = run.number(metric, class_name)
    if number is None:
        return None
    record = to_json(number)
    kept = {key: record[key] for key in ("value", "low", "high", "n", "num_groups", "threshold")}
    about: Mapping[str, object] = {
        "run": run.id,
        "recipe": run.run.recipe,
        "model": run.model,
        "split": comparison.split,
    }
    return {**about, "class": class_name, "metric": metric, **kept}


def _csv_difference(comparison: RunComparison, item: Difference | None) -> dict[str, object]:
    if item is None:
        return {}
    record = to_json(item.paired.comparison)
    return {
        "baseline": comparison.baseline.id,
        "difference": record["difference"],
        "difference_low": record["low"],
        "difference_high": record["high"],
        "p": item.tested.p,
        "corrected_p": item.tested.corrected_p,
        "outcome": item.outcome,
    }
