"""A study: a CSV file with a row for each trial, its images left out of training, and paired tests between rows.

A row holds the settings that differ from the recipe's defaults, seconds, and pooled scores with 95 % intervals inside
the field of view. It also holds the Dice of each image, so that rows can be compared after their runs are deleted. A
data set's own test images never decide, so they are not read.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipelines.report.comparisons import all_swaps
from pipelines.report.verdict import difference_text
from pipelines.results.scored_runs import load_run, values_by_image
from pipelines.run_comparison.finished import FinishedRun
from segkit.core.errors import RequestError
from segkit.core.files import as_csv, read_csv, write_text
from segkit.core.groups import group_numbers
from segkit.core.manifest import Split
from segkit.metrics.measure import find_measurement
from segkit.metrics.significance import FloatArray, PairedDifference, holm, mean_of, paired_bootstrap
from segkit.metrics.tables import HEADINGS, Table

SPLITS: tuple[Split, ...] = ("out-of-fold", "holdout", "val")
METRICS = ("dice", "auroc", "mcc", "cldice")
COLUMNS = (
    *("run", "recipe", "model", "split", "data_sha256", "git_commit", "n", "seconds"),
    *(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")),
    *("settings", "dice_by_image", "patients"),
)
ID_LENGTH = 12
NUM_RESAMPLES = 2000

Row = dict[str, str]
"""By column; `settings`, `dice_by_image` and `patients` are JSON."""


def study_row(run: FinishedRun, model: str | None = None) -> Row:
    """The row of a finished run: one model on its out-of-fold, else its held-out, else its validation images.

    Raises:
        RequestError: none of these was scored, or not with this model.
    """
    split = next((name for name in SPLITS if name in run.measured), None)
    if split is None:
        raise RequestError(f"{run.folder} has no scored image that was left out of training; a study needs them")
    name = model or run.main_model(split)
    if name not in run.measured[split]:
        raise RequestError(f"{run.folder} has no model {name!r} scored on {split}")
    measurements = run.measured[split][name]
    scores = load_run(name, run.evaluation, split, measurements)
    numbers = {metric: find_measurement(measurements, metric) for metric in METRICS}
    row: dict[str, object] = {
        "run": run.fingerprint[:ID_LENGTH],
        "recipe": run.recipe,
        "model": name,
        "split": split,
        "data_sha256": run.data_digest or "",
        "git_commit": run.record.get("git_commit") or "",
        "n": len(scores.scores),
        "seconds": round(60 * run.minutes),
        "settings": json.dumps({key: value for key, (_, value) in run.changed_settings.items()}),
        "dice_by_image": json.dumps({image: round(dice, 6) for image, dice in values_by_image(scores, "dice").items()}),
        "patients": json.dumps({score.name: score.group for score in scores.scores if score.group != score.name}),
    }
    for metric, number in numbers.items():
        for end in ("", "_low", "_high"):
            value = None if number is None else getattr(number, end.removeprefix("_") or "value")
            row[f"{metric}{end}"] = "" if value is None else f"{value:.6f}"
    return {column: str(row[column]) for column in COLUMNS}


def read_study(path: Path) -> list[Row]:
    """The rows of a study; none if there is no file.

    Raises:
        RequestError: it is another file, or damaged.
    """
    rows = read_csv(path) if path.exists() else []
    if any(tuple(row) != COLUMNS for row in rows):
        raise RequestError(f"{path} is not a study; name a new file, or one that `segkit runs study` wrote")
    for number, row in enumerate(rows, start=1):
        try:
            for column in ("settings", "dice_by_image", "patients"):
                json.loads(row[column])
        except (TypeError, ValueError) as error:  # a missing cell is None
            raise RequestError(f"{path}: row {number} is damaged; take the file from a copy") from error
    return rows


def write_study(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows of a study."""
    write_text(path, as_csv(rows, COLUMNS))


def with_rows(rows: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """The rows with others added; a row of the same run and model is replaced in its place."""
    merged = {(row["run"], row["model"]): row for row in rows}
    return [*(merged | {(row["run"], row["model"]): row for row in new}).values()]


def study_table(rows: Sequence[Row], baseline: str | None = None) -> Table:
    """Every row, with the difference of its mean Dice over images from the baseline's.

    `baseline` is the first digits of a run, by default that of the first row; there is at least one row.

    Raises:
        RequestError: no row or several rows are of this run.
    """
    chosen = rows[0] if baseline is None else _named(rows, baseline)
    tests = {index: compare_rows(row, chosen) for index, row in enumerate(rows) if _comparable(row, chosen)}
    corrected = dict(zip(tests, holm([p for _, p in tests.values()]), strict=True))
    texts = [{key: json.dumps(value) for key, value in json.loads(row["settings"]).items()} for row in rows]
    keys = dict.fromkeys(key for text in texts for key in text)
    varied = [key for key in keys if len({text.get(key) for text in texts}) > 1]
    cells: list[Row] = []
    for index, row in enumerate(rows):
        line = {"Run": row["run"][:6], "Scored on": f"{row['split']}, n = {row['n']}", "Seconds": row["seconds"]}
        line |= {HEADINGS[metric]: _interval(row, metric) for metric in METRICS}
        line |= {"Difference in mean Dice": "baseline" if row is chosen else "other images", "p": "", "Holm's p": ""}
        if index in tests:
            difference, p = tests[index]
            line["Difference in mean Dice"] = difference_text(difference)
            line |= {"p": f"{p:.2g}", "Holm's p": f"{corrected[index]:.2g}"}
        line["Settings"] = ", ".join(f"{key}={text}" for key, text in texts[index].items() if key in varied)
        cells.append(line)
    return Table("Pooled scores inside the field of view", tuple(cells[0]), cells)


def compare_rows(row: Row, baseline: Row) -> tuple[PairedDifference, float]:
    """Mean Dice over images of a row minus the baseline's: paired bootstrap, and p of the sign-flip test.

    Both resample or flip patients (Davison 1997, Fisher 1935); above 16 patients the flips are drawn.
    """
    a, b, patients = (json.loads(text) for text in (row["dice_by_image"], baseline["dice_by_image"], row["patients"]))
    names = [name for name in a if np.isfinite(a[name]) and np.isfinite(b[name])]
    groups = [patients.get(name, name) for name in names]
    values_a, values_b = (np.array([values[name] for name in names]) for values in (a, b))
    paired = paired_bootstrap(
        mean_of(values_a), mean_of(values_b), len(names), groups=groups, num_resamples=NUM_RESAMPLES
    )
    return paired, _sign_flip_p(values_a - values_b, groups)


def _sign_flip_p(differences: FloatArray, groups: Sequence[str]) -> float:
    sums = np.bincount(group_numbers(groups), differences)
    flipped = np.abs((1 - 2 * all_swaps(len(sums), seed=0)) @ sums)
    return float(np.mean(flipped >= flipped[0] - 1e-12))


def _comparable(row: Row, baseline: Row) -> bool:
    """Whether the rows are of the same images, left out of training in the same way."""
    images = [json.loads(of["dice_by_image"]).keys() for of in (row, baseline)]
    return row is not baseline and images[0] == images[1] and row["split"] == baseline["split"]


def _named(rows: Sequence[Row], run: str) -> Row:
    matching = [row for row in rows if row["run"].startswith(run.lower())]
    if len(matching) != 1:
        known = ", ".join(row["run"] for row in rows)
        raise RequestError(f"{len(matching)} rows of the study are of the run {run!r}; there are {known}")
    return matching[0]


def _interval(row: Mapping[str, str], metric: str) -> str:
    value, *ends = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
    if value in ("", "nan"):
        return ""
    numbers = [f"{float(end):.4f}" for end in ends if end not in ("", "nan")]
    return f"{float(value):.4f}" + (f" [{', '.join(numbers)}]" if numbers else "")
