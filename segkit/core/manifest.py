"""The manifest: the rows of a data set as one JSON file. Stages exchange data only by manifests."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import DatasetError
from segkit.core.files import read_json, write_text
from segkit.core.names import check_unique

Split = Literal["train", "val", "holdout", "out-of-fold", "test"]
"""`val` chooses checkpoint, threshold and ensemble rule; `holdout` is only scored; `out-of-fold` is left out by one
fold of a cross-validation, and only scored; `test` may have no labels."""
Origin = Literal["real", "synthetic", "phantom"]
Role = Literal["reference", "observer2", "pseudo"]
"""The first observer's label map (ground truth), the second observer's, and a network's probabilities."""

FILE_NAME = "manifest.json"


class Source(NamedTuple):
    """An image in a file."""

    path: Path
    frame: int = 0
    """Page of a multi-page file, from 0."""

    def __str__(self) -> str:
        return f"{self.path}, page {self.frame}" if self.frame else str(self.path)


@dataclass(frozen=True)
class Row:
    """One image with its labels; paths are absolute in memory and relative on disk."""

    name: str
    split: Split
    image: Source
    labels: Mapping[Role, Source] = field(default_factory=dict)
    region: Source | None = None
    """Map of the pixels that count, such as the field of view, white on black; None where there is none."""
    origin: Origin = "real"
    weight: float = 1.0
    """Factor on the loss of this image."""
    threshold: float = 0.5
    """Binary pseudo-labels: the teacher's threshold on their probabilities."""
    group: str = ""
    """The patient; the image's own name if unknown. A split never divides a group."""

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.name)

    @property
    def reference(self) -> Source | None:
        """The label map for scoring predictions."""
        return self.labels.get("reference")

    @property
    def target(self) -> Source | None:
        """The map for training: manual labels, or else pseudo-labels."""
        return self.reference or self.labels.get("pseudo")


@dataclass(frozen=True)
class Manifest:
    """Rows in a fixed order, and the classes of their labels."""

    rows: tuple[Row, ...]
    classes: Classes = VESSEL

    def split(self, *splits: Split) -> "Manifest":
        """The rows of these splits."""
        return replace(self, rows=tuple(row for row in self.rows if row.split in splits))

    def labelled(self) -> "Manifest":
        """The rows that have a label map to train with."""
        return replace(self, rows=tuple(row for row in self.rows if row.target is not None))

    @property
    def num_groups(self) -> int:
        """Number of patients."""
        return len({row.group for row in self.rows})

    def __len__(self) -> int:
        return len(self.rows)


def write_manifest(rows: Iterable[Row], folder: Path, classes: Classes = VESSEL) -> Path:
    """Write `manifest.json` into `folder`, atomically.

    Raises:
        DatasetError: two rows have the same name; results are stored by name.
    """
    rows = tuple(rows)
    check_unique((row.name for row in rows), DatasetError, "images")
    path = folder / FILE_NAME
    content = {"classes": classes.model_dump(mode="json"), "rows": [_as_json(row, folder) for row in rows]}
    write_text(path, json.dumps(content, indent=1))
    return path


def _as_json(row: Row, folder: Path) -> dict[str, object]:
    labels = {role: _relative(source, folder) for role, source in row.labels.items()}
    region = None if row.region is None else _relative(row.region, folder)
    return {**row.__dict__, "image": _relative(row.image, folder), "labels": labels, "region": region}


def _relative(source: Source, folder: Path) -> list[str | int]:
    # Folders are resolved, because `..` behaves differently behind a link; the file's name is kept.
    real = source.path.parent.resolve() / source.path.name
    return [os.path.relpath(real, folder.resolve()), source.frame]


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a stage's folder.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    path = folder / FILE_NAME
    try:
        raw = read_json(path)
        rows = tuple(_from_json(row, folder) for row in raw["rows"])
        _check_values("split", {row.split for row in rows}, get_args(Split))
        _check_values("origin", {row.origin for row in rows}, get_args(Origin))
        _check_values("role", {role for row in rows for role in row.labels}, get_args(Role))
        return Manifest(rows, Classes.model_validate(raw["classes"]))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(f"{folder} holds no {FILE_NAME}; give the folder of a stage that writes one") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path} is not a manifest ({reason}); run the stage that wrote it again") from error


def _check_values(kind: str, values: set[str], known: tuple[str, ...]) -> None:
    if unknown := values - set(known):
        raise ValueError(f"unknown {kind} {unknown.pop()!r}")


def _from_json(raw: dict[str, Any], folder: Path) -> Row:
    labels = {role: _absolute(source, folder) for role, source in raw["labels"].items()}
    region = None if raw["region"] is None else _absolute(raw["region"], folder)
    return Row(**{**raw, "image": _absolute(raw["image"], folder), "labels": labels, "region": region})


def _absolute(source: tuple[str, int], folder: Path) -> Source:
    path, frame = source
    return Source(Path(os.path.normpath(folder.resolve() / path)), int(frame))
