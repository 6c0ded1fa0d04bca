"""Published tables beside the results: as printed, as corrected, and the model here that was trained alike."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from pipelines.pooling.pool import Pooled, Score
from segkit.core.config import Settings, read_yaml, validate

COLUMNS = ("sensitivity", "specificity", "precision", "accuracy", "auroc", "dice")
"""Columns of the tables; dice is F1."""


class Counterpart(Settings):
    """The model here that was trained like a published one."""

    model: str
    values: dict[str, str] = Field(default_factory=dict)
    """Its choice on axes of the grid; an axis that the grid lacks is not compared."""


class PublishedRow(Settings):
    """A row of a published table. A number that is not known is left out."""

    method: str
    printed: dict[str, float]
    corrected: dict[str, float] = Field(default_factory=dict)
    note: str = ""
    ours: Counterpart | None = None


class PublishedTable(Settings):
    """A published table with its protocol."""

    title: str
    protocol: str
    rows: tuple[PublishedRow, ...]


class PublishedTables(Settings):
    """A file in `published/`."""

    source: str
    tables: tuple[PublishedTable, ...]


def read(name: str) -> PublishedTables:
    """The tables of one publication."""
    path = Path(__file__).parent / "published" / f"{name}.yaml"
    return validate(PublishedTables, read_yaml(path), str(path))


def view(pooled: Pooled) -> dict[str, object] | None:
    """The variables of the template; None if the settings name no tables."""
    if pooled.request.pool.published is None:
        return None
    tables = read(pooled.request.pool.published)
    return {
        "source": tables.source,
        "tables": tables.tables,
        "columns": COLUMNS,
        "ours": lambda row: counterpart(pooled, row.ours),
    }


def counterpart(pooled: Pooled, wanted: Counterpart | None) -> Mapping[str, Score]:
    """The scores of a row's model over all pixels by metric; empty if it was not measured.

    If the grid has further axes, the first of the fitting settings is taken.
    """
    if wanted is None:
        return {}
    for setting in pooled.settings:
        if all(setting.values.get(axis, value) == value for axis, value in wanted.values.items()):
            found = {
                score.metric: score
                for score in pooled.scores
                if score.setting is setting and (score.model, score.region) == (wanted.model, "all-pixels")
            }
            if found:
                return found
    return {}
