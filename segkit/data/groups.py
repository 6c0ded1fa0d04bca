"""The patient of each image, from its name or from a file that the user writes."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from segkit.core.errors import DatasetError

FILE_NAME = "groups.csv"
"""In the folder of a data set: columns `image` and `group`, a row for each image."""

_PLACES = ("", "images", "training", "training/images", "test", "test/images")
"""Folders, relative to the data set, that are searched for misplaced files."""

CHASE_NAME = re.compile(r"(Image_\d+)[LR]", re.IGNORECASE)
"""CHASE_DB1 photographed both eyes of 14 children: Image_01L and Image_01R are of the same child (Fraz 2012)."""


def child(name: str) -> str:
    """The child of an image with CHASE_DB1's name; the name itself otherwise."""
    return match[1] if (match := CHASE_NAME.fullmatch(name)) else name


def by_pattern(names: Sequence[str], pattern: str) -> dict[str, str]:
    """The group of each image: the match of the one capture group of `pattern`, which is searched in its name.

    Raises:
        DatasetError: the pattern has not exactly one capture group, or does not match a name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DatasetError(f"group_pattern {pattern!r} is not a regular expression: {error}") from error
    if compiled.groups != 1:
        raise DatasetError(
            f"group_pattern {pattern!r} has {compiled.groups} capture groups; put the patient, and only that, in"
            " parentheses, as in '^(p[0-9]+)_'"
        )
    matches = {name: compiled.search(name) for name in names}
    unmatched = [name for name, match in matches.items() if match is None or not match[1]]
    if unmatched:
        raise DatasetError(
            f"group_pattern {pattern!r} matches no patient in {listed(unmatched)}; it must match every name"
        )
    return {name: match[1] for name, match in matches.items() if match is not None}


def table(base: Path) -> Path | None:
    """The data set's `groups.csv`, if it has one.

    Raises:
        DatasetError: a file in another folder or spelling exists, which would not be read.
    """
    expected = base / FILE_NAME
    for place in _PLACES:
        folder = base / place
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.lower() == FILE_NAME and path != expected:
                raise DatasetError(f"{path} is not read; one {FILE_NAME} for all images belongs at {expected}")
    return expected if expected.is_file() else None


def from_file(path: Path, names: Sequence[str]) -> dict[str, str]:
    """The group of each image in `groups.csv`, which lists images with or without suffix.

    Raises:
        DatasetError: the file is not CSV in UTF-8, a column is missing, or an image is missing, unknown or duplicated.
    """
    rows = [(cells["image"], cells["group"]) for cells in read_table(path, ("image", "group"))]
    groups: dict[str, str] = {}
    for image, group in rows:
        name = image if image in names else Path(image).stem
        if name not in names:
            raise DatasetError(f"{path} lists {image!r}, which is not an image of this data set; remove the row")
        if name in groups or not group:
            problem = "lists twice" if name in groups else "gives no group for"
            raise DatasetError(f"{path} {problem} {image!r}; expected one row with a group for each image")
        groups[name] = group
    if missing := [name for name in names if name not in groups]:
        raise DatasetError(f"{path} does not list {listed(missing)}; add a row for each image")
    return groups


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that has at least these columns; cells are stripped, and empty where a row lacks them.

    Raises:
        DatasetError: it is no CSV file in UTF-8, or a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [name.strip() for name in reader.fieldnames or ()]
            if not set(columns) <= set(names):
                raise DatasetError(
                    f"{path} has the columns {', '.join(names) or 'none'}; expected {' and '.join(columns)}"
                )
            reader.fieldnames = names
            return [{name: (row[name] or "").strip() for name in names} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is not a CSV file in UTF-8 ({error}); save it as one") from error


def listed(names: Sequence[str], most: int = 5) -> str:
    """ "a, b and c", "a, b, c, d, e and 7 more"."""
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
