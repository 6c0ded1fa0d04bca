"""The table of a comparison of networks: what each costs, how it scores, and its paired test against the baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.report import comparisons
from pipelines.report.comparisons import Paired, Tested
from pipelines.report.verdict import PHANTOM_NOTE, Basis, difference_text
from pipelines.results.scored_runs import Run
from pipelines.stage import StageRecord
from pipelines.stage_types import Roles
from segkit.core.manifest import Split
from segkit.core.wording import counted, is_nan
from segkit.metrics.measure import Measurement, find_measurement, to_json
from segkit.metrics.significance import holm
from segkit.metrics.tables import HEADINGS, Table, cell, of_cells
from segkit.models import cost
from segkit.tasks.settings import TrainSettings

METRICS = ("dice", "auroc", "mcc", "cldice", "mean_iou")
"""Columns of the table, where measured."""


@dataclass(frozen=True)
class ModelRow:
    """A row of the table."""

    name: str
    network: str
    num_parameters: int
    multiply_adds: int
    """For an image of 512 x 512 pixels."""
    seconds: float | None
    """Training time of the process that finished it."""
    scores: Mapping[str, Measurement]
    """By metric, pooled inside the field of view, at the model's own threshold."""
    tested: Tested | None
    """Against the baseline in pooled Dice; None for the baseline."""


def paired_tests(
    roles: Roles, split: Split, paired: Sequence[Paired], runs: Mapping[str, Run], seed: int
) -> dict[str, Tested]:
    """The test of each compared model against the baseline on one split, by name.

    `seed` is of the sign flips, where there are too many to try all.
    """
    differences = {
        name: comparison
        for name in roles.compared
        if (comparison := comparisons.main_comparison(paired, split, name, roles.baseline)) is not None
    }
    p_values = [comparisons.sign_flip_p([(runs[name], runs[roles.baseline])], seed) for name in differences]
    return {
        name: Tested(difference, p, corrected, len(p_values))
        for (name, difference), p, corrected in zip(differences.items(), p_values, holm(p_values), strict=True)
    }


def model_rows(
    names: Sequence[str],
    records: Mapping[str, StageRecord],
    measured: Mapping[str, Sequence[Measurement]],
    tests: Mapping[str, Tested],
    num_classes: int,
) -> list[ModelRow]:
    """The rows of the models, in their order.

    The first name is the baseline's, which has no test; `records` are the `done.json` of each training.
    """
    rows = []
    for name in names:
        settings = TrainSettings.model_validate(records[name]["settings"]).model
        found = {metric: find_measurement(measured[name], metric) for metric in METRICS}
        scores = {metric: m for metric, m in found.items() if m and (metric == "dice" or not is_nan(m.value))}
        costs = cost.of_network(settings, num_classes)
        rows.append(ModelRow(name, settings.name, *costs, records[name].get("seconds"), scores, tests.get(name)))
    return rows


def columns(rows: Sequence[ModelRow]) -> list[str]:
    """The metrics that a model has."""
    return [metric for metric in METRICS if any(metric in row.scores for row in rows)]


def headline(rows: Sequence[ModelRow], basis: Basis, phantoms: bool) -> str:
    """The best model by Dice, and how many models differ from the baseline."""
    best = max(rows, key=lambda row: row.scores["dice"].value)
    score = best.scores["dice"]
    outcomes = [row.tested.outcome for row in rows if row.tested is not None]
    better, worse = outcomes.count("helped"), outcomes.count("worse")
    return (
        f"{best.name} has the highest Dice of {counted(len(rows), 'model')}: {cell(score)}. Against "
        f"{rows[0].name}, {better} better, {worse} worse, {len(outcomes) - better - worse} undecided "
        f"(n = {basis.n} {basis.noun})." + PHANTOM_NOTE * phantoms
    )


def table(rows: Sequence[ModelRow], basis: Basis) -> Table:
    """The table as text for a terminal."""
    metrics = columns(rows)
    headings = (HEADINGS[metric] for metric in metrics)
    titles = ("Model", "Parameters", "Multiply-adds", "Training", *headings, "Dice difference", "p", "p (Holm)")
    region = rows[0].scores["dice"].region
    heading = (
        f"{basis.n} {basis.noun}, region {region}, pooled, each at its own threshold; differences from "
        f"{rows[0].name}, paired bootstrap and sign-flip test; multiply-adds at {cost.SIDE} x {cost.SIDE}"
    )
    return of_cells(heading, titles, [_cells(row, metrics) for row in rows])


def _cells(row: ModelRow, metrics: Sequence[str]) -> list[str]:
    tested = row.tested
    return [
        row.name,
        f"{row.num_parameters:,}",
        f"{row.multiply_adds / 1e9:.2f} G",
        "" if row.seconds is None else f"{row.seconds:.0f} s",
        *(cell(row.scores[metric]) if metric in row.scores else "" for metric in metrics),
        *(
            ("baseline", "", "")
            if tested is None
            else (difference_text(tested.comparison), f"{tested.p:.2g}", f"{tested.corrected_p:.2g}")
        ),
    ]


def as_json(rows: Sequence[ModelRow], basis: Basis) -> dict[str, object]:
    """The table as plain values."""
    return {
        "split": basis.split,
        "n": basis.n,
        "num_groups": basis.num_groups,
        "baseline": rows[0].name,
        "multiply_adds_side": cost.SIDE,
        "models": list(map(_row_json, rows)),
    }


def _row_json(row: ModelRow) -> dict[str, object]:
    numbers = {name: getattr(row, name) for name in ("name", "network", "num_parameters", "multiply_adds", "seconds")}
    tested = row.tested and {
        **to_json(row.tested.comparison),
        "outcome": row.tested.outcome,
        "p": row.tested.p,
        "corrected_p": row.tested.corrected_p,
    }
    scores = {metric: to_json(score) for metric, score in row.scores.items()}
    return numbers | {"scores": scores, "against_baseline": tested}
