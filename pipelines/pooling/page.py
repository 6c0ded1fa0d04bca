"""The pooled report as one self-contained HTML page, in the frame of a recipe's report."""

import os
from pathlib import Path

import numpy as np
import yaml

from pipelines.pooling import published, text, verdict
from pipelines.pooling.pool import METRICS, Cell, Pooled, Score, Setting
from pipelines.report import charts, curves, page
from pipelines.report.charts import LineStyle, Plotted, run_styles
from segkit.core.wording import counted
from segkit.metrics.measure import has_interval
from segkit.metrics.tables import HEADINGS

SECTIONS = {
    "scores": "Scores",
    "differences": "Differences",
    "published": "Published tables",
    "curves": "Learning curves",
    "cells": "Cells",
    "settings": "Settings",
}
"""Titles by template in `sections/`."""


def render(pooled: Pooled, out: Path) -> str:
    """The page as HTML text; links are relative to the folder `out`."""
    templates = page.environment(Path(__file__).parent, Path(page.__file__).parent)
    templates.globals |= {"pooled": pooled, "basis": pooled.basis, "headings": HEADINGS}
    views = {
        "head": _head(pooled),
        "scores": _scores(pooled),
        "differences": {} if pooled.differences else None,
        "published": published.view(pooled),
        "curves": _curves(pooled),
        "cells": {"link": lambda cell: _link(cell, out)},
        "settings": {"pipeline": yaml.safe_dump(pooled.request.pipeline, sort_keys=False, allow_unicode=True)},
    }
    return page.fill(templates, pooled.request.pool.title, views, {"head": "", **SECTIONS})


def _head(pooled: Pooled) -> dict[str, object]:
    differences = {
        f"{item.run} − {item.reference}{f', {item.setting.label}' if item.setting.label else ''}": item.comparison
        for item in pooled.verdict_differences
        if has_interval(item.comparison)
    }
    return {
        "summary": f"{text.summary(pooled)}; {pooled.basis.n} {pooled.basis.noun}",
        "headline": verdict.headline(pooled),
        "outcome": verdict.outcome(pooled),
        "sentences": verdict.sentences(pooled),
        "caveats": verdict.caveats(pooled),
        "forest": charts.intervals("forest", differences, "Difference in Dice (right of zero: better)")
        if differences
        else None,
    }


def _scores(pooled: Pooled) -> dict[str, object]:
    """By region, and in it by choice of settings and model."""
    tables: dict[str, dict[tuple[str, str], dict[str, Score]]] = {}
    for score in pooled.scores:
        rows = tables.setdefault(score.region, {})
        rows.setdefault((score.setting.name, score.model), {})[score.metric] = score
    return {
        "tables": tables,
        "metrics": [metric for metric in METRICS if any(score.metric == metric for score in pooled.scores)],
    }


def _curves(pooled: Pooled) -> dict[str, object] | None:
    """For each choice of settings, the validation Dice of each network: mean over the cells, and their range."""
    names: dict[str, LineStyle] = {}
    styles = run_styles(pooled.request.roles)
    drawn = []
    for number, setting in enumerate(pooled.settings):
        plotted = []
        for stage in setting.cells[0].record.stages:
            line = _mean_line(setting, stage)
            if line is not None:
                names[stage] = styles.get(stage, LineStyle(len(names) % charts.NUM_COLOURS))
                plotted.append(Plotted(stage, *line[:2], names[stage], band=line[2]))
        if plotted:
            title = setting.label or "Validation Dice at threshold 0.5"
            ends = "; ".join(f"{item.label} ends at {item.y[-1]:.4f}" for item in plotted)
            description = f"Validation Dice, mean and range over {counted(len(setting.runs), 'seed')}. {ends}"
            drawn.append(
                charts.lines(f"curves-{number}", title, plotted, "training steps", "dice", description=description)
            )
    return {"charts": drawn, "key": names} if drawn else None


Band = tuple[list[float], list[float]]


def _mean_line(setting: Setting, stage: str) -> tuple[list[float], list[float], Band] | None:
    """Steps, mean, and lowest and highest validation Dice over the cells; None if nothing was logged."""
    folders = [cell.folders[stage] for cell in setting.cells if stage in cell.folders]
    histories = [curves.read_phases(folder) for folder in folders]
    logged = [history.lines["val/dice"] for history in histories if history is not None and "val/dice" in history.lines]
    if not logged:
        return None
    steps = sorted(set.intersection(*(set(line.x) for line in logged)))
    if not steps:
        return None
    values = np.array([[dict(zip(line.x, line.y, strict=True))[step] for step in steps] for line in logged])
    return steps, values.mean(axis=0).tolist(), (values.min(axis=0).tolist(), values.max(axis=0).tolist())


def _link(cell: Cell, out: Path) -> str | None:
    """Address of the cell's own report, relative to the folder of this page."""
    folder = cell.folders.get("report")
    return None if folder is None else Path(os.path.relpath(folder / "report.html", out)).as_posix()
