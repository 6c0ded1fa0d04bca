"""Lists the files of a data set by patterns of their names and pairs them into rows."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import DatasetError
from segkit.core.manifest import Row, Source, Split
from segkit.data import groups, readers
from segkit.data.readers import Dataset, Finding, Published

Kind = Literal["image", "reference", "observer2", "region"]
"""What a file of a row is."""

Patterns = Mapping[tuple[Split, Kind], str]
"""Regular expressions of the files' paths below the data set's folder, without suffix and in any case. Files whose one
capture group is equal belong together; a number is equal with and without leading zeros."""

ROLES: tuple[Literal["reference", "observer2"], ...] = ("reference", "observer2")
"""Kinds that are label maps."""

_Files = dict[str, Path]


def reader(
    name: str,
    patterns: Patterns,
    layout: str,
    *,
    published: Published,
    group_of: Callable[[str], str] = str,
) -> Callable[[Path], Dataset]:
    """The function `read` of a data set's module: `list_dataset` on an existing folder."""

    def read(root: Path) -> Dataset:
        base = readers.existing_folder(root)
        return list_dataset(name, base, patterns, layout, published=published, group_of=group_of)

    return read


def list_dataset(
    name: str,
    base: Path,
    patterns: Patterns,
    layout: str,
    *,
    classes: Classes = VESSEL,
    published: Published | None = None,
    group_of: Callable[[str], str] = str,
    name_of: Callable[[Split, Path], str] = lambda split, path: readers.stem(path),
) -> Dataset:
    """A data set of the files that match; what is wrong with single files is among its findings.

    Training and validation images need a label map. Of another kind of map there is one for each image, or none at all.

    Args:
        patterns: of the files that are read, by split and kind.
        layout: an example of the layout, for the error where no image matches.
        group_of: the patient of an image, by its name.

    Raises:
        DatasetError: no image matches, or groups.csv does not fit the images.
    """
    files, findings = _matched(base, patterns)
    rows = []
    for split in dict.fromkeys(split for split, _ in patterns):
        of_split = {kind: files[split, kind] for at, kind in patterns if at == split}
        findings += _unpaired(of_split, split)
        for key, image in of_split["image"].items():
            own = {kind: paths[key] for kind, paths in of_split.items() if key in paths}
            rows.append(row_of(name_of(split, image), split, own))
    rows = grouped(base, [replace(row, group=group_of(row.name)) for row in rows])
    return assemble(name, base, rows, findings, layout, classes=classes, published=published)


def assemble(
    name: str,
    base: Path,
    rows: Iterable[Row],
    findings: Iterable[Finding],
    layout: str,
    *,
    classes: Classes = VESSEL,
    published: Published | None = None,
    others: Iterable[Path] = (),
) -> Dataset:
    """A data set of these rows, sorted.

    Args:
        base: folder that holds all files.
        layout: an example of the layout, for the error where there are no rows.
        others: further files that decide what is read.

    Raises:
        DatasetError: there are no rows.
    """
    rows = sorted(rows, key=lambda row: row.name)
    if not rows:
        raise DatasetError(f"{base} holds no images of the layout {name!r}; expected {layout}")
    table = base / groups.FILE_NAME
    return Dataset(
        name=name,
        root=base,
        rows=tuple(rows),
        digest=readers.digest(base, rows, [*others, *([table] if table.is_file() else [])], reader=name),
        classes=classes,
        phantom=(base / readers.PHANTOM_MARKER).is_file(),
        findings=tuple(findings),
        published=published,
    )


def grouped(base: Path, rows: Sequence[Row]) -> list[Row]:
    """The rows with the patients that a groups.csv in the folder gives; unchanged without one.

    Raises:
        DatasetError: groups.csv does not fit the rows.
    """
    table = groups.table(base)
    return list(rows if table is None else readers.with_groups(rows, groups.from_file(table, [r.name for r in rows])))


def _matched(base: Path, patterns: Patterns) -> tuple[dict[tuple[Split, Kind], _Files], list[Finding]]:
    """The files by split, kind and key; what matches nothing is a warning, what matches twice an error."""
    compiled = {place: re.compile(pattern, re.IGNORECASE) for place, pattern in patterns.items()}
    files: dict[tuple[Split, Kind], _Files] = {place: {} for place in patterns}
    findings, ignored = [], []
    for path in readers.image_files(base, recursive=True, packed=True):
        relative = (path.relative_to(base).parent / readers.stem(path)).as_posix()
        places = [(place, match[1]) for place, pattern in compiled.items() if (match := pattern.fullmatch(relative))]
        if not places:
            ignored.append(path.relative_to(base).as_posix())
            continue
        place, text = places[0]
        key = text.lstrip("0") or "0" if text.isdecimal() else text.lower()
        if key in files[place]:
            findings.append(
                Finding("error", f"{path} and {files[place][key]} are of the same image; remove one of them")
            )
        else:
            files[place][key] = path
    if ignored:
        findings.append(
            Finding("warning", f"ignored in {base}: {groups.listed(ignored)}; these are no names of this layout")
        )
    return files, findings


def _unpaired(files: Mapping[Kind, _Files], split: Split) -> Iterator[Finding]:
    """Maps without an image, and images that lack a map which others have or which they need."""
    pictures = files["image"]
    for kind, maps in files.items():
        for key in sorted(maps.keys() - pictures.keys()):
            yield Finding("error", f"{maps[key]} belongs to no image; remove it or add its image")
        if (kind == "reference" and split != "test") or maps:
            missing = [pictures[key].name for key in sorted(pictures.keys() - maps.keys())]
            word = {"reference": "label map", "observer2": "second observer's map"}.get(kind, "field of view")
            if missing:
                example = f" beside {sorted(maps.values())[0]}" if maps else ""
                yield Finding("error", f"no {word} for {groups.listed(missing)}; put it{example}, or remove the image")


def row_of(name: str, split: Split, files: Mapping[Kind, Path], group: str = "") -> Row:
    """The row of an image's files."""
    return Row(
        name=name,
        split=split,
        image=Source(files["image"]),
        labels={role: Source(files[role]) for role in ROLES if role in files},
        region=Source(files["region"]) if "region" in files else None,
        group=group,
    )
