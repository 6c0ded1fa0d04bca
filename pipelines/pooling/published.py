"""Published tables beside the results: as printed, as corrected, and the model here that was trained alike."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.pooling.pool import Pooled, Score
from segkit.core.config import read_yaml

COLUMNS = ("sensitivity", "specificity", "precision", "accuracy", "auroc", "dice")
"""Columns of the tables; dice is F1."""


def read(name: str) -> dict[str, object]:
    """The tables of one publication, a file in `published/`; a number that is not known is left out."""
    return read_yaml(Path(__file__).parent / "published" / f"{name}.yaml")


def view(pooled: Pooled) -> dict[str, object] | None:
    """The variables of the template; None if the settings name no tables."""
    if pooled.request.pool.published is None:
        return None
    return {
        **read(pooled.request.pool.published),
        "columns": COLUMNS,
        "ours": lambda row: counterpart(pooled, row["ours"]) if "ours" in row else {},
    }


def counterpart(pooled: Pooled, ours: Mapping[str, Any]) -> Mapping[str, Score]:
    """The scores of a row's model over all pixels by metric; empty if it was not measured.

    Args:
        ours: name of the model, and its choices on axes of the grid; an axis that the grid lacks is not compared. If
            the grid has further axes, the first of the fitting settings is taken.
    """
    choices = ours.get("values", {})
    for setting in pooled.settings:
        if all(setting.values.get(axis, value) == value for axis, value in choices.items()):
            scores = {
                score.metric: score
                for score in pooled.scores
                if score.setting is setting and (score.model, score.region) == (ours["model"], "all-pixels")
            }
            if scores:
                return scores
    return {}
