"""The pooled numbers as tables for a terminal, as JSON and as CSV."""

from collections.abc import Iterable, Mapping, Sequence

from pipelines.pooling import verdict
from pipelines.pooling.pool import METRICS, Cell, Difference, Pooled, Score
from pipelines.report.verdict import difference_text
from segkit.core.files import as_csv
from segkit.core.wording import counted, is_nan
from segkit.metrics.measure import to_json
from segkit.metrics.tables import HEADINGS, Table


def score_table(pooled: Pooled, metrics: Sequence[str] = METRICS) -> Table:
    """A row for each choice of settings and model: means over seeds with intervals, in the main region."""
    shown = [score for score in pooled.scores if score.region == pooled.region and score.metric in metrics]
    metrics = [metric for metric in metrics if any(score.metric == metric for score in shown)]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for score in shown:
        first = {"Settings": score.setting.label or "all", "Model": score.model, "Seeds": str(len(score.mean.by_seed))}
        row = rows.setdefault((score.setting.label, score.model), first | {HEADINGS[name]: "" for name in metrics})
        row[HEADINGS[score.metric]] = cell(score)
    columns = ("Settings", "Model", "Seeds", *(HEADINGS[name] for name in metrics))
    basis = pooled.basis
    images = f"{basis.n} {basis.noun}, region {pooled.region}, pooled"
    heading = f"Means over seeds on {images} | 95 % intervals over seeds and {basis.unit}s"
    return Table(heading, columns, list(rows.values()))


def cell(score: Score) -> str:
    """ "0.8267 [0.8212, 0.8321]"."""
    mean = score.mean
    return f"{mean.value:.4f}" + ("" if is_nan(mean.low) else f" [{mean.low:.4f}, {mean.high:.4f}]")


def difference_table(differences: Iterable[Difference]) -> Table:
    """A row for each tested difference in Dice."""
    columns = ("Settings", "Model", "Against", "Dice difference", "Seeds better", "p", "p (Holm)", "Outcome")
    rows = []
    for item in differences:
        if item.tested is None:
            continue
        cells = (
            *(item.setting.label or "all", item.run, item.reference, difference_text(item.comparison)),
            f"{sum(value > 0 for value in item.by_seed)} of {len(item.by_seed)}",
            *(f"{item.tested.p:.2g}", f"{item.tested.corrected_p:.2g}", item.tested.outcome),
        )
        rows.append(dict(zip(columns, cells, strict=True)))
    return Table("Paired differences in Dice, means over seeds | sign-flip test over patients", columns, rows)


def failed_lines(cells: Sequence[Cell]) -> list[str]:
    """A line for each cell that is not complete."""
    return [f"not complete: {item.record.name} (no result of {item.missing[0]})" for item in cells]


def as_json(pooled: Pooled) -> dict[str, object]:
    """The verdict with everything behind it as plain values."""
    basis = pooled.basis
    return {
        "headline": verdict.headline(pooled),
        "outcome": verdict.outcome(pooled),
        "basis": {"split": basis.split, "n": basis.n, "num_groups": basis.num_groups, "why": basis.why},
        "caveats": verdict.caveats(pooled),
        "cells": [
            {
                "name": item.record.name,
                "seed": item.record.seed,
                "fold": item.record.fold,
                "values": item.record.values,
                "missing": item.missing,
            }
            for item in pooled.cells
        ],
        "scores": [
            {
                "values": dict(score.setting.values),
                "model": score.model,
                "metric": score.metric,
                "region": score.region,
                "value": score.mean.value,
                "low": _defined(score.mean.low),
                "high": _defined(score.mean.high),
                "deviation": _defined(score.mean.deviation),
                "by_seed": _by_seed(score.setting.runs, score.mean.by_seed),
                "n": score.n,
                "num_groups": score.num_groups,
            }
            for score in pooled.scores
        ],
        "differences": [
            {
                "values": dict(item.setting.values),
                "run": item.run,
                "reference": item.reference,
                "gives_verdict": item.is_verdict,
                "by_seed": _by_seed(item.setting.runs, item.by_seed),
                **to_json(item.comparison),
                **(
                    {}
                    if item.tested is None
                    else {
                        "p": item.tested.p,
                        "corrected_p": item.tested.corrected_p,
                        "outcome": item.tested.outcome,
                    }
                ),
            }
            for item in pooled.differences
        ],
    }


def _by_seed(seeds: Iterable[int], values: Iterable[float]) -> dict[str, float | None]:
    return {str(seed): _defined(value) for seed, value in zip(seeds, values, strict=True)}


def _defined(value: float) -> float | None:
    return None if is_nan(value) else value


def scores_csv(pooled: Pooled) -> str:
    """A row for each choice of settings, model, metric and region, and one for each of its seeds."""
    axes = list(dict.fromkeys(axis for item in pooled.cells for axis in item.record.values))
    columns = (*axes, *("model", "metric", "region", "seed", "value", "low", "high", "deviation", "n", "num_groups"))
    rows: list[Mapping[str, object]] = []
    for score in pooled.scores:
        mean = score.mean
        shared = {
            **score.setting.values,
            **{"model": score.model, "metric": score.metric, "region": score.region},
            **{"n": score.n, "num_groups": score.num_groups},
        }
        rows.append(
            shared
            | {"seed": "mean", "value": mean.value}
            | {name: _defined(getattr(mean, name)) for name in ("low", "high", "deviation")}
        )
        rows += [shared | {"seed": seed, "value": v} for seed, v in zip(score.setting.runs, mean.by_seed, strict=True)]
    return as_csv(rows, columns)


def differences_csv(pooled: Pooled) -> str:
    """A row for each paired difference."""
    axes = list(dict.fromkeys(axis for item in pooled.cells for axis in item.record.values))
    columns = (
        *axes,
        *("run", "reference", "metric", "difference", "low", "high", "num_seeds", "seeds_better", "n", "num_groups"),
        *("p", "corrected_p", "outcome"),
    )
    rows = []
    for item in pooled.differences:
        record = to_json(item.comparison)
        row: dict[str, object] = {
            **item.setting.values,
            **{"run": item.run, "reference": item.reference},
            **{key: record[key] for key in ("metric", "difference", "low", "high", "n", "num_groups")},
            **{"num_seeds": len(item.by_seed), "seeds_better": sum(value > 0 for value in item.by_seed)},
        }
        if item.tested is not None:
            row |= {"p": item.tested.p, "corrected_p": item.tested.corrected_p, "outcome": item.tested.outcome}
        rows.append(row)
    return as_csv(rows, columns)


def summary(pooled: Pooled) -> str:
    """How much was run, as in "6 cells: 2 settings, 3 seeds"."""
    seeds = {cell.record.seed for cell in pooled.cells}
    folds = {cell.record.fold for cell in pooled.cells} - {None}
    values = {tuple(cell.record.values.items()) for cell in pooled.cells}
    parts = [counted(len(values), "choice") + " of settings", counted(len(seeds), "seed")]
    parts += [counted(len(folds), "fold")] if folds else []
    return f"{counted(len(pooled.cells), 'cell')}: {', '.join(parts)}"
