"""Finished runs and their comparison as tables for a terminal, as JSON and as CSV."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING

from pipelines.report.verdict import NOUNS, difference_text
from pipelines.run_comparison.finished import FinishedRun, Listing, short_ids
from segkit.core.files import as_csv
from segkit.core.wording import counted, of_patients
from segkit.metrics.measure import to_json
from segkit.metrics.region import REGION_TEXTS
from segkit.metrics.tables import HEADINGS, Table, cell, metric_tables, of_cells

if TYPE_CHECKING:
    from pipelines.run_comparison.compare import Difference, RunComparison, ScoredRun  # loads torch

NONE = "–"


# one folder and one run -----------------------------------------------------------------------------------------------


def run_table(listing: Listing) -> Table:
    """A row for each finished run."""
    ids = short_ids(listing.runs)
    columns = (
        "Run",
        "Finished",
        "Recipe",
        "Title",
        "Data",
        "Networks",
        "Scored on",
        "Dice (F1)",
        "AUROC",
        "Minutes of stages",
    )
    cells = [(ids[run.fingerprint], *_run_cells(run)) for run in listing.runs]
    return of_cells("Pooled over images, inside the field of view", columns, cells)


def _run_cells(run: FinishedRun) -> list[str]:
    score, scored = run.main_score, [NONE] * 3
    if score is not None:
        auroc = NONE if score.auroc is None else f"{score.auroc.value:.4f}"
        scored = [f"{score.split}, {score.model}", f"{score.dice.value:.4f}", auroc]
    about = [run.recipe or NONE, run.title, run.dataset or NONE, ", ".join(run.networks) or NONE]
    return [f"{run.finished:%F %H:%M}", *about, *scored, f"{run.minutes:.1f}"]


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
        "title": run.title,
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
    cells = []
    for stage in run.stages:
        seconds = (stage.record or {}).get("seconds")
        cells.append((stage.name, stage.state, NONE if seconds is None else f"{seconds:.1f}", str(stage.folder)))
    return of_cells("Stages", ("Stage", "State", "Seconds", "Folder"), cells)


def _changed_settings_table(run: FinishedRun) -> Table:
    """The settings of a run that differ from the defaults."""
    heading = f"Settings that differ from the defaults of {run.recipe or 'an unknown recipe'}"
    changed = run.changed_settings.items()
    cells = [(key, value_text(value), value_text(default)) for key, (default, value) in changed]
    return of_cells(heading, ("Setting", "Value", "Default"), cells)


def _main_tables(run: FinishedRun) -> list[Table]:
    """The scores of the main model on the most trustworthy split, in the main region, by class."""
    score = run.main_score
    if score is None:
        return []
    measurements = run.measured[score.split][score.model]
    return metric_tables(m for m in measurements if m.region == measurements[0].region)


# a comparison ---------------------------------------------------------------------------------------------------------


def comparison_tables(comparison: RunComparison) -> list[Table]:
    """Settings that differ, if any, scores, and paired differences."""
    settings = _settings_table(comparison)
    return [*([settings] if settings.rows else []), *_score_tables(comparison), _difference_table(comparison)]


def _settings_table(comparison: RunComparison) -> Table:
    """A row for each setting that differs."""
    ids = [run.id for run in comparison.runs]
    cells = [(key, *(value_text(values[run]) for run in ids)) for key, values in comparison.settings.items()]
    return of_cells("Settings that differ", ("Setting", *ids), cells)


def _score_tables(comparison: RunComparison) -> list[Table]:
    """The main metrics of the runs, a table for each class."""
    columns = ("Run", "Model", "Threshold", *(HEADINGS[metric] for metric in comparison.metrics))
    tables = []
    for class_name in comparison.classes:
        cells = []
        for run in comparison.runs:
            numbers = [run.number(metric, class_name) for metric in comparison.metrics]
            scores = [NONE if number is None else cell(number) for number in numbers]
            cells.append((run.id, run.model, threshold_text(run), *scores))
        tables.append(of_cells(f"Scores on {images_text(comparison)}, class {class_name}, pooled", columns, cells))
    return tables


def _difference_table(comparison: RunComparison) -> Table:
    """A row for each paired difference."""
    columns = ("Run", "Class", "Metric", "Difference", "p", "p (Holm)", "Better on", "Outcome")
    cells = [
        (
            *(item.id, item.class_name, HEADINGS[item.metric], difference_text(item.comparison)),
            *(f"{item.p:.2g}", f"{item.corrected_p:.2g}"),
            *(f"{item.num_better} of {item.comparison.n}", item.result),
        )
        for item in comparison.differences
    ]
    heading = f"Paired differences: run minus baseline {comparison.baseline.id}; {method_text(comparison)}"
    return of_cells(heading, columns, cells)


def images_text(comparison: RunComparison) -> str:
    """ "20 test images", "28 held-out images of 14 patients"."""
    n, num_groups = comparison.size
    return f"{n} {NOUNS[comparison.split]}{of_patients(n, num_groups)}, {REGION_TEXTS[comparison.region]}"


def method_text(comparison: RunComparison) -> str:
    """How the differences were tested."""
    tests = counted(len(comparison.differences), "comparison")
    return f"95 % intervals of a paired bootstrap over patients, sign-flip test, Holm's correction for {tests}"


def sentence(item: Difference, baseline: str) -> str:
    """The result of a paired difference in one sentence."""
    verb = {
        "better": "is better than",
        "worse": "is worse than",
        "no evidence": "does not differ demonstrably from",
        "too few patients": "cannot be told from",
    }[item.result]
    return (
        f"{item.id} {verb} {baseline} in {HEADINGS[item.metric]}: {difference_text(item.comparison)}, "
        f"p = {item.p:.2g}, p (Holm) = {item.corrected_p:.2g}"
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
                **to_json(item.comparison),
                "num_better": item.num_better,
                "p": item.p,
                "corrected_p": item.corrected_p,
                "outcome": item.result,
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
    rows = []
    for run, class_name, metric in product(comparison.runs, comparison.classes, metrics):
        number, item = run.number(metric, class_name), tested.get((run.id, class_name, metric))
        if number is not None:
            about = {"run": run.id, "recipe": run.run.recipe, "model": run.model, "split": comparison.split}
            record = {"class": class_name, **to_json(number), **({} if item is None else _csv_difference(item))}
            rows.append({**about, **record, "baseline": item and comparison.baseline.id})
    return as_csv(rows, CSV_COLUMNS)


def _csv_difference(item: Difference) -> dict[str, object]:
    record = to_json(item.comparison)
    ends = {"difference_low": record["low"], "difference_high": record["high"]}
    outcome = {"p": item.p, "corrected_p": item.corrected_p, "outcome": item.result}
    return {"difference": record["difference"], **ends, **outcome}
