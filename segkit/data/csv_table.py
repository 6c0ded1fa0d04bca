"""A CSV file of pairs, wherever the files lie: `csv:FILE` with the columns image, label and perhaps fov, group, split.

    image,label,fov,group,split
    photos/a.jpg,maps/a.png,,p1,train
    photos/b.jpg,,,p2,test

Paths are relative to the CSV file's folder. `split` is train (the default), val or test; a cut adds validation images
only where no row has the split val. Only test images may lack a label map. `group` is the patient, by default the image
itself. A `classes.yaml` in the CSV file's folder names the classes, as for `folder`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from segkit.core.errors import DatasetError
from segkit.core.manifest import Row, Split
from segkit.data import folder, groups, pairing
from segkit.data.pairing import Kind
from segkit.data.readers import Dataset, Finding

NAME = "csv"
FILES: dict[str, Kind] = {"image": "image", "label": "reference", "fov": "region"}
"""Kinds of files by column."""
SPLITS: dict[str, Split] = {"": "train", "train": "train", "val": "val", "test": "test"}


def read(path: Path) -> Dataset:
    """List the rows; a file that does not exist is among the findings.

    Raises:
        DatasetError: the CSV file cannot be read, lacks a column, has no rows or names an image twice.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is no file; give the CSV file of pairs, as in csv:/data/pairs.csv")
    path = path.resolve()
    findings: list[Finding] = []
    rows: list[Row] = []
    for line, cells in enumerate(groups.read_table(path, ("image", "label")), start=2):
        problems, row = _row(path, line, cells)
        if row is not None and any(row.name == other.name for other in rows):
            problems.append(f"{path}, line {line}: a second image is called {row.name}; rename one, names must differ")
        elif row is not None:
            rows.append(row)
        findings += [Finding("error", problem) for problem in problems]
    if findings and not rows:
        raise DatasetError(findings[0].message)
    sources = [source.path for row in rows for source in (row.image, *row.labels.values(), row.region) if source]
    base = Path(os.path.commonpath([path.parent, *(source.parent for source in sources)]))
    classes = path.parent / folder.CLASSES
    others = [path, *([classes] if classes.is_file() else [])]
    layout = "a row for each image below the head image,label"
    return pairing.assemble(NAME, base, rows, findings, layout, classes=folder.read_classes(classes), others=others)


def _row(path: Path, line: int, cells: Mapping[str, str]) -> tuple[list[str], Row | None]:
    """The row of a line, and what is wrong with it."""
    place = f"{path}, line {line}"
    files = {kind: (path.parent / cells[column]) for column, kind in FILES.items() if cells.get(column)}
    if "image" not in files:
        return [f"{place}: there is no image; fill the column, or remove the line"], None
    problems = [f"{place}: {file} does not exist; correct the path" for file in files.values() if not file.is_file()]
    split = SPLITS.get(cells.get("split", "").lower())
    if split is None:
        problems.append(f"{place}: the split is {cells['split']!r}; expected train, val or test")
    elif split != "test" and "reference" not in files:
        problems.append(f"{place}: a {split} image has no label; fill the column, or give it the split test")
    if problems:
        return problems, None
    assert split is not None
    resolved = {kind: Path(os.path.normpath(file)) for kind, file in files.items()}
    return [], pairing.row_of(resolved["image"].stem, split, resolved, cells.get("group", ""))
