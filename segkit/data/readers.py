"""What a data set on disk is to the rest of the kit, and the table of the readers that find one: `NAME:DIR`.

A reader is a module with two functions: `read(root) -> Dataset`, which lists, pairs and digests without decoding, and
`check_item(dataset, item) -> ItemReport`, which decodes the files of one image. What is wrong with single images is
collected as findings, so that `segkit data check` can print all of it at once.
"""

import difflib
import hashlib
import importlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, cast

from segkit.core import files, images
from segkit.core.errors import DatasetError, ImageError
from segkit.core.wording import counted
from segkit.data import groups

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
    group: str = ""
    """The patient, as far as the data set tells; the image's own name by default."""

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.name)


@dataclass(frozen=True)
class Finding:
    """Something about a data set that its user must know."""

    severity: Literal["error", "warning"]
    """An error keeps the data set from being used; a warning does not."""
    message: str


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
    findings: tuple[Finding, ...] = ()
    """What was noticed without decoding a file."""

    @property
    def training_groups(self) -> dict[str, str]:
        """The group of each training image by the image's name."""
        return {item.name: item.group for item in self.items if item.part == "training"}

    @property
    def num_groups(self) -> int:
        """Patients, as far as the data set tells."""
        return len({item.group for item in self.items})


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
    pixels_sha256: str
    """Of the decoded image: equal for the same picture under another name or in another lossless format."""


@dataclass(frozen=True)
class Check:
    """What decoding every file of a data set has shown."""

    reports: tuple[ItemReport, ...]
    """Of the items whose files are whole, in their order."""
    findings: tuple[Finding, ...]
    """Those of reading first, errors before warnings."""


class Reader(Protocol):
    """What the module of a reader offers."""

    read: Callable[[Path], Dataset]
    check_item: Callable[[Dataset, Item], ItemReport]


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


def read(text: str, group_pattern: str | None = None) -> Dataset:
    """Read the data set that `NAME:DIR` names; files are listed, paired and digested, not decoded.

    Args:
        text: `NAME:DIR`.
        group_pattern: finds the patient in each image's name (see `DataSettings.group_pattern`).

    Raises:
        DatasetError: the reader is unknown, the folder is not what it expects, or the pattern does not fit the names.
    """
    name, folder = parse(text)
    dataset = reader(name).read(folder)
    if group_pattern is not None:
        if (dataset.root / groups.FILE_NAME).is_file():
            raise DatasetError(
                f"group_pattern and {dataset.root / groups.FILE_NAME} both give the patients; keep one of them"
            )
        patients = groups.by_pattern([item.name for item in dataset.items], group_pattern)
        dataset = replace(dataset, items=with_groups(dataset.items, patients))
    return replace(dataset, findings=(*dataset.findings, *_divided_groups(dataset.items)))


def open_dataset(text: str, group_pattern: str | None = None) -> Dataset:
    """`read`, and refuse a data set with errors.

    Raises:
        DatasetError: as `read`, or a finding is an error.
    """
    dataset = read(text, group_pattern)
    refuse(dataset.findings)
    return dataset


def refuse(findings: Iterable[Finding]) -> None:
    """Raise the first error among the findings.

    Raises:
        DatasetError: there is one.
    """
    errors = [finding.message for finding in findings if finding.severity == "error"]
    if errors:
        others = f"\n{counted(len(errors) - 1, 'more problem')}: `segkit data check` lists all" if errors[1:] else ""
        raise DatasetError(errors[0] + others)


def check(dataset: Dataset) -> Check:
    """Decode every file of a data set, verify it as its reader demands, and compare all images with each other."""
    reports, findings = [], list(dataset.findings)
    for item in dataset.items:
        try:
            reports.append(reader(dataset.name).check_item(dataset, item))
        except (DatasetError, ImageError) as error:
            findings.append(Finding("error", str(error)))
    findings += _identical_pictures(dataset.items, reports)
    return Check(tuple(reports), tuple(sorted(findings, key=lambda finding: finding.severity)))


def with_groups(items: Iterable[Item], patients: Mapping[str, str]) -> tuple[Item, ...]:
    """The items with the group that their names have in `patients`."""
    return tuple(replace(item, group=patients[item.name]) for item in items)


def _divided_groups(items: Sequence[Item]) -> Iterator[Finding]:
    """Patients with images in both parts of the data set."""
    parts: dict[str, dict[Part, str]] = {}
    for item in items:
        parts.setdefault(item.group, {}).setdefault(item.part, item.name)
    for group, names in parts.items():
        if len(names) > 1:
            yield Finding(
                "error",
                f"patient {group} has training and test images ({names['training']}, {names['test']}); a test image's"
                " patient must not be trained on: move all images of the patient to one part",
            )


def _identical_pictures(items: Sequence[Item], reports: Iterable[ItemReport]) -> Iterator[Finding]:
    """Images with the same pixels: an error where a split can divide them, or training and test do; else a warning."""
    by_name = {item.name: item for item in items}
    by_pixels: dict[str, list[Item]] = {}
    for report in reports:
        by_pixels.setdefault(report.pixels_sha256, []).append(by_name[report.name])
    for same in by_pixels.values():
        if len(same) < 2:
            continue
        names = f"{groups.listed([item.name for item in same])} are the same picture"
        if len({item.part for item in same}) > 1:
            yield Finding("error", f"{names}, in the training and in the test part; remove one")
        elif same[0].part == "training" and len({item.group for item in same}) > 1:
            yield Finding("error", f"{names}, and a split could divide them; remove one, or give them one group")
        else:
            yield Finding("warning", f"{names}, which counts more than once; remove all but one")


def digest(root: Path, items: Iterable[Item], others: Iterable[Path] = ()) -> str:
    """sha256 over the sorted relative names and the contents of the items' files and of `others`, and of no more."""
    paths = {path for item in items for path in (item.image, item.vessels, item.fov, item.observer2) if path}
    paths |= set(others)
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


def ignored(folder: Path, used: Collection[str], reads: str) -> Iterator[Finding]:
    """Sub-folders that are not read, and in those that are files which are no images by their suffix and sub-folders.

    Args:
        folder: whose sub-folders are listed.
        used: names of those that are read.
        reads: what is read instead, as the end of the warning.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or not path.is_dir():
            continue
        files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
        if path.name not in used and files:
            yield Finding("warning", f"ignored: {path}/ ({counted(len(files), 'file')}); {reads}")
        elif strange := [file for file in files if file.suffix.lower() not in images.SUFFIXES]:
            suffixes = ", ".join(sorted({file.suffix or file.name for file in strange}))
            number = counted(len(strange), "file")
            yield Finding("warning", f"ignored: {number} in {path}/ ({suffixes}); unpack them, or convert them to PNG")
        holds_images = path.name in used and not (path / "images").is_dir()  # and is not training/ or test/
        for below in sorted(path.iterdir()) if holds_images else ():
            if below.is_dir() and (deeper := image_files(below, recursive=True)):
                number = counted(len(deeper), "image")
                yield Finding("warning", f"ignored: {below}/ ({number}); sub-folders are not read")


def check_item(item: Item, size: tuple[int, int] | None = None) -> ItemReport:
    """Decode an item's files; its maps must have the image's size and not be empty.

    Args:
        item: what to check.
        size: the height and width the image must have; any if None.

    Raises:
        ImageError: a file is damaged.
        DatasetError: a size is wrong or a map is empty.
    """
    image = images.read_image(item.image)
    height, width = image.shape[:2]
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
        pixels_sha256=hashlib.sha256(f"{height}x{width}\n".encode() + image.tobytes()).hexdigest(),
    )
