"""The pooled numbers as tables for a terminal, as JSON and as CSV."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from pipelines.pooling import verdict
from pipelines.pooling.pool import METRICS, Cell, Difference, Pooled, Score
from pipelines.report.verdict import difference_text
from segkit.core.files import as_csv, without_nan
from segkit.core.wording import counted
from segkit.metrics.measure import to_json
from segkit.metrics.tables import HEADINGS, Table, cell, of_cells


def score_table(pooled: Pooled, metrics: Sequence[str] = METRICS) -> Table:
    """A row for each choice of settings and model: means over seeds with intervals, in the main region."""
    shown = [score for score in pooled.scores if score.region == pooled.region and score.metric in metrics]
    metrics = [metric for metric in metrics if any(score.metric == metric for score in shown)]
    rows: dict[tuple[str, str], dict[str, Score]] = {}
    for score in shown:
        rows.setdefault((score.setting.name, score.model), {})[score.metric] = score
    cells = [
        (
            *key,
            str(len(next(iter(row.values())).mean.by_seed)),
            *(cell(row[metric].mean) if metric in row else "" for metric in metrics),
        )
        for key, row in rows.items()
    ]
    basis = pooled.basis
    images = f"{basis.n} {basis.noun}, region {pooled.region}, pooled"
    heading = f"Means over seeds on {images} | 95 % intervals over seeds and {basis.unit}s"
    return of_cells(heading, ("Settings", "Model", "Seeds", *(HEADINGS[name] for name in metrics)), cells)


def difference_table(differences: Iterable[Difference]) -> Table:
    """A row for each tested difference in Dice."""
    columns = ("Settings", "Model", "Against", "Dice difference", "Seeds better", "p", "p (Holm)", "Outcome")
    cells = [
        (
            *(item.setting.name, item.run, item.reference, difference_text(item.comparison)),
            *(f"{item.num_better} of {len(item.by_seed)}", f"{item.p:.2g}", f"{item.corrected_p:.2g}", item.outcome),
        )
        for item in differences
        if item.is_tested
    ]
    return of_cells("Paired differences in Dice, means over seeds | sign-flip test over patients", columns, cells)


def failed_lines(cells: Sequence[Cell]) -> list[str]:
    """A line for each cell that is not complete."""
    return [f"not complete: {item.record.name} (no result of {item.missing[0]})" for item in cells]


def as_json(pooled: Pooled) -> dict[str, object]:
    """The verdict with everything behind it as plain values."""
    return {
        "headline": verdict.headline(pooled),
        "outcome": verdict.outcome(pooled),
        "basis": asdict(pooled.basis),
        "caveats": verdict.caveats(pooled),
        "cells": [
            {**item.record.model_dump(include={"name", "seed", "fold", "values"}), "missing": item.missing}
            for item in pooled.cells
        ],
        "scores": [
            {
                "values": dict(score.setting.values),
                **_score_record(score),
                "by_seed": _by_seed(score.setting.runs, score.mean.by_seed),
            }
            for score in pooled.scores
        ],
        "differences": [
            {
                "values": dict(item.setting.values),
                **_difference_record(item),
                "by_seed": _by_seed(item.setting.runs, item.by_seed),
            }
            for item in pooled.differences
        ],
    }


def _score_record(score: Score) -> dict[str, object]:
    mean = score.mean
    return {
        **{"model": score.model, "metric": score.metric, "region": score.region, "value": mean.value},
        **without_nan({name: getattr(mean, name) for name in ("low", "high", "deviation")}),
        **{"n": score.n, "num_groups": score.num_groups},
    }


def _difference_record(item: Difference) -> dict[str, object]:
    tested = {"p": item.p, "corrected_p": item.corrected_p, "outcome": item.outcome} if item.is_tested else {}
    names = {"run": item.run, "reference": item.reference, "gives_verdict": item.is_verdict}
    return names | to_json(item.comparison) | tested


def _by_seed(seeds: Iterable[int], values: Iterable[float]) -> dict[str, object]:
    return without_nan(dict(zip(map(str, seeds), values, strict=True)))


def scores_csv(pooled: Pooled) -> str:
    """A row for each choice of settings, model, metric and region, and one for each of its seeds."""
    columns = ("model", "metric", "region", "seed", "value", "low", "high", "deviation", "n", "num_groups")
    rows: list[Mapping[str, object]] = []
    for score in pooled.scores:
        mean = {**score.setting.values, **_score_record(score), "seed": "mean"}
        without_interval = mean | dict.fromkeys(("low", "high", "deviation"))
        by_seed = zip(score.setting.runs, score.mean.by_seed, strict=True)
        rows += [mean, *(without_interval | {"seed": seed, "value": value} for seed, value in by_seed)]
    return as_csv(rows, (*pooled.axes, *columns))


def differences_csv(pooled: Pooled) -> str:
    """A row for each paired difference."""
    columns = (
        *("run", "reference", "metric", "difference", "low", "high", "num_seeds", "seeds_better", "n", "num_groups"),
        *("p", "corrected_p", "outcome"),
    )
    rows: list[Mapping[str, object]] = [
        {
            **item.setting.values,
            **_difference_record(item),
            **{"num_seeds": len(item.by_seed), "seeds_better": item.num_better},
        }
        for item in pooled.differences
    ]
    return as_csv(rows, (*pooled.axes, *columns))


def summary(pooled: Pooled) -> str:
    """How much was run, as in "6 cells: 2 settings, 3 seeds"."""
    seeds = {cell.record.seed for cell in pooled.cells}
    folds = {cell.record.fold for cell in pooled.cells} - {None}
    values = {tuple(cell.record.values.items()) for cell in pooled.cells}
    parts = [counted(len(values), "choice") + " of settings", counted(len(seeds), "seed")]
    parts += [counted(len(folds), "fold")] if folds else []
    return f"{counted(len(pooled.cells), 'cell')}: {', '.join(parts)}"
