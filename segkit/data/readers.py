"""What a data set on disk is to the rest of the kit, and the table of the readers that find one: `NAME:DIR`.

A reader is a module with two functions: `read(root) -> Dataset`, which lists, pairs and digests without decoding, and
`check(dataset) -> tuple[ItemReport, ...]`, which decodes every file.
"""

import difflib
import hashlib
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

from segkit.core import files, images
from segkit.core.errors import DatasetError

Part = Literal["training", "test"]
"""The data set's own division; what is `val` and `holdout` is cut from "training" by `segkit.data.splits`."""

READERS: dict[str, str] = {
    "drive": "segkit.data.drive",
    "folder": "segkit.data.folder",
}
"""Reader name to the module that holds it, imported when asked for."""


@dataclass(frozen=True)
class Item:
    """One image of a data set with the files that belong to it."""

    name: str
    part: Part
    image: Path
    vessels: Path | None = None
    """First observer's vessel map: the ground truth. Absent in the official test part of DRIVE."""
    fov: Path | None = None
    observer2: Path | None = None
    """Second observer's vessel map: the human baseline."""


@dataclass(frozen=True)
class Dataset:
    """A data set as found on disk."""

    name: str
    """The reader's name."""
    root: Path
    """The folder the digest's names are relative to."""
    items: tuple[Item, ...]
    """Sorted by name."""
    digest: str
    """sha256 over the items' relative names and contents: the same wherever the folder lies."""
    phantom: bool = False
    """Drawn by `segkit.data.phantom`, not photographed."""


@dataclass(frozen=True)
class ItemReport:
    """What `check` saw of one item."""

    name: str
    part: Part
    height: int
    width: int
    vessel_share: float | None
    """Share of vessel pixels inside the field of view (of all pixels where there is no fov)."""
    fov_share: float | None
    """Share of the image that is field of view."""


class Reader(Protocol):
    """What the module of a reader offers."""

    read: Callable[[Path], Dataset]
    check: Callable[[Dataset], tuple[ItemReport, ...]]


def reader(name: str) -> Reader:
    """The module that reads data sets of this name.

    Raises:
        DatasetError: no reader has this name.
    """
    if name not in READERS:
        near = difflib.get_close_matches(name.lower(), READERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise DatasetError(f"no data set reader is called {name!r}; there are: {', '.join(sorted(READERS))}{hint}")
    return cast(Reader, importlib.import_module(READERS[name]))


def parse(text: str) -> tuple[str, Path]:
    """Split `NAME:DIR` into the reader's name and the folder.

    Raises:
        DatasetError: there is no colon, or one side of it is empty.
    """
    name, colon, folder = text.partition(":")
    if not colon or not name or not folder:
        raise DatasetError(f"a data set is named READER:FOLDER, as in drive:/data/DRIVE, not {text!r}")
    return name, Path(folder).expanduser()


def open_dataset(text: str) -> Dataset:
    """Read the data set that `NAME:DIR` names; files are listed, paired and digested, not decoded.

    Raises:
        DatasetError: the reader is unknown, or the folder is not what it expects.
    """
    name, folder = parse(text)
    return reader(name).read(folder)


def check(dataset: Dataset) -> tuple[ItemReport, ...]:
    """Decode every file of a data set and verify it as its reader demands.

    Raises:
        DatasetError, ImageError: the first thing that is wrong.
    """
    return reader(dataset.name).check(dataset)


def digest(root: Path, items: Iterable[Item]) -> str:
    """sha256 over the sorted relative names and the contents of the items' files; other files do not count."""
    paths = {path for item in items for path in (item.image, item.vessels, item.fov, item.observer2) if path}
    total = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in paths):
        total.update(f"{name}\0{files.sha256_file(path)}\n".encode())
    return total.hexdigest()


def folder_named(root: Path) -> Path:
    """`root`, absolute, if it is a folder.

    Raises:
        DatasetError: it does not exist or is a file.
    """
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DatasetError(f"{root} {found}; give the folder that holds the data set, as in drive:/data/DRIVE")
    return root.resolve()


def image_files(folder: Path, recursive: bool = False) -> list[Path]:
    """The image files in a folder by suffix, sorted; hidden files and anything else are passed over.

    Args:
        folder: a folder that does not exist holds none.
        recursive: also list the folders below it, except hidden ones.
    """
    if not folder.is_dir():
        return []
    by_suffix = (path for path in folder.glob("**/*" if recursive else "*") if path.suffix.lower() in images.SUFFIXES)
    return sorted(path for path in by_suffix if path.is_file() and not _is_hidden(path.relative_to(folder)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def check_item(item: Item, size: tuple[int, int] | None = None) -> ItemReport:
    """Decode an item's files; its maps must have the image's size and not be empty.

    Args:
        item: what to check.
        size: the height and width the image must have; any if None.

    Raises:
        ImageError: a file is damaged.
        DatasetError: a size is wrong or a map is empty.
    """
    height, width = images.read_image(item.image).shape[:2]
    if size is not None and (height, width) != size:
        raise DatasetError(
            f"{item.image} is {width}x{height} pixels, expected {size[1]}x{size[0]}; put the original file back"
        )
    maps = {}
    for role, path in (("vessels", item.vessels), ("fov", item.fov), ("observer2", item.observer2)):
        if path is None:
            continue
        maps[role] = images.read_mask(path)
        if maps[role].shape != (height, width):
            found = f"{maps[role].shape[1]}x{maps[role].shape[0]}"
            raise DatasetError(
                f"{path} is {found} pixels, its image {item.image.name} {width}x{height};"
                " put the file there that belongs to it"
            )
        if not maps[role].any():
            raise DatasetError(
                f"{path} marks no pixel at all; a map is white (255) on black (0), put the original back"
            )
    fov, vessels = maps.get("fov"), maps.get("vessels")
    inside = vessels if vessels is None or fov is None else vessels[fov]
    return ItemReport(
        name=item.name,
        part=item.part,
        height=height,
        width=width,
        vessel_share=None if inside is None else float(inside.mean()),
        fov_share=None if fov is None else float(fov.mean()),
    )
