"""A manifest: the rows of a data set as one JSON file, the only way data passes between stages."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from segkit.core.errors import DatasetError
from segkit.core.files import write_text

Split = Literal["train", "val", "holdout", "test"]
"""`val` chooses checkpoint, threshold and ensemble rule; `holdout`, labelled, chooses nothing; `test` may have none."""
Origin = Literal["real", "synthetic", "phantom"]

FILE_NAME = "manifest.json"


@dataclass(frozen=True)
class Row:
    """One image with what is known of it; paths are absolute in memory and relative on disk."""

    name: str
    split: Split
    image: Path
    vessels: Path | None = None
    """Manual vessel map (0/255) or pseudo-label probabilities (16 bit)."""
    fov: Path | None = None
    observer2: Path | None = None
    origin: Origin = "real"
    weight: float = 1.0
    """Factor on this image's loss."""
    threshold: float = 0.5
    """Probability from which a pixel of `vessels` is vessel; a pseudo-label's is its teacher's."""
    group: str = ""
    """The patient, as far as the data set tells; the image's own name by default. A split never divides a group."""

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.name)


_PATHS = ("image", "vessels", "fov", "observer2")


@dataclass(frozen=True)
class Manifest:
    """Rows in a fixed order."""

    rows: tuple[Row, ...]

    def split(self, *splits: Split) -> "Manifest":
        """The rows of these splits."""
        return Manifest(tuple(row for row in self.rows if row.split in splits))

    def labelled(self) -> "Manifest":
        """The rows that have a vessel map."""
        return Manifest(tuple(row for row in self.rows if row.vessels is not None))

    @property
    def num_groups(self) -> int:
        """Patients that the rows are of."""
        return len({row.group for row in self.rows})

    def __len__(self) -> int:
        return len(self.rows)


def write_manifest(rows: Iterable[Row], folder: Path) -> Path:
    """Write `manifest.json` into `folder`, atomically.

    Raises:
        DatasetError: two rows have one name, under which what comes of them would be stored.
    """
    rows = tuple(rows)
    twice = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if twice:
        raise DatasetError(f"two images are called {twice[0]!r}; each needs a name of its own")
    path = folder / FILE_NAME
    write_text(path, json.dumps({"rows": [_relative(row, folder) for row in rows]}, indent=1))
    return path


def _relative(row: Row, folder: Path) -> dict[str, Any]:
    # Folders are followed to where they really lie, for `..` leads elsewhere through a link; the file's name stays.
    paths = {key: path.parent.resolve() / path.name for key in _PATHS if (path := getattr(row, key)) is not None}
    return {**row.__dict__, **{key: os.path.relpath(path, folder.resolve()) for key, path in paths.items()}}


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a stage's folder.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    path = folder / FILE_NAME
    try:
        raw: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
        rows = tuple(_absolute(Row(**row), folder) for row in raw)
        strange = {row.split for row in rows} - {*get_args(Split)} | {row.origin for row in rows} - {*get_args(Origin)}
        if strange:
            raise ValueError(f"it names {strange.pop()!r}")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(f"{folder} holds no {FILE_NAME}; give the folder of a stage that writes one") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not a manifest ({error}); run the stage that wrote it again") from error
    return Manifest(rows)


def _absolute(row: Row, folder: Path) -> Row:
    paths = {
        key: Path(os.path.normpath(folder.resolve() / value))
        for key in _PATHS
        if (value := getattr(row, key)) is not None
    }
    return replace(row, **paths)  # type: ignore[arg-type]
