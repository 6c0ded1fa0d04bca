"""A data set on disk, and the table of readers: `NAME:DIR` names a reader and a folder.

A reader is a module with the function `read(root) -> Dataset`, which lists, pairs and digests without decoding. It may
have a second one, `check_row(dataset, row) -> RowReport`, which decodes the files of one image and raises what is
wrong, where a data set demands more than `check_row` below. What is wrong with single images is collected as findings,
so that `segkit data check` can print all of it at once.
"""

import hashlib
import importlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from segkit.core import files, images
from segkit.core.arrays import Bools, Pixels
from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import DatasetError, ImageError
from segkit.core.manifest import Row, Source, Split
from segkit.core.names import hint
from segkit.core.wording import counted
from segkit.data import groups
from segkit.data.fov import estimate_fov
from segkit.data.labels import Labels, read_labels, target_maps

Part = Literal["training", "test"]
"""The parts of the data set itself; `segkit.data.splits` cuts `val` and `holdout` from "training"."""

READERS: dict[str, str] = {
    "chase": "segkit.data.chase",
    "csv": "segkit.data.csv_table",
    "drive": "segkit.data.drive",
    "drive-article": "segkit.data.drive_article",
    "folder": "segkit.data.folder",
    "histology": "segkit.data.histology",
    "hrf": "segkit.data.hrf",
    "isbi2012": "segkit.data.isbi2012",
    "stare": "segkit.data.stare",
}
"""Module of each reader, by name; imported when needed."""


PACKED = ".gz"
"""Suffix of packed image files."""

MIN_REGION_SHARE = 0.3
"""An estimated field of view that covers less of the image is reported."""

PHANTOM_MARKER = "phantom.json"
"""In the root of a data set that `segkit.data.phantom_layouts` has drawn: what it was drawn with."""


class Published(NamedTuple):
    """Number and size of the labelled images of a data set as it was published."""

    num_labelled: int
    height: int
    width: int


def part_of(row: Row) -> Part:
    """The part of the data set that a row belongs to, before splits are cut."""
    return "test" if row.split == "test" else "training"


@dataclass(frozen=True)
class Finding:
    """A problem of a data set."""

    severity: Literal["error", "warning"]
    """A data set with an error cannot be used."""
    message: str


@dataclass(frozen=True)
class Dataset:
    """A data set on disk."""

    name: str
    """The reader's name."""
    root: Path
    """The folder that the digest's file names are relative to."""
    rows: tuple[Row, ...]
    """Sorted by name; the training part is the split "train", or "val" and "holdout" where the data set names them."""
    digest: str
    """sha256 over relative file names and contents; it does not depend on the folder's location."""
    classes: Classes = VESSEL
    """Of the label maps."""
    phantom: bool = False
    """Whether `segkit.data.phantom` drew the images."""
    findings: tuple[Finding, ...] = ()
    """Problems that were found without decoding files."""
    published: Published | None = None
    """What the public data set holds; a copy that differs is a warning."""

    @property
    def training_groups(self) -> dict[str, str]:
        """The group of each training image by the image's name."""
        return {row.name: row.group for row in self.rows if part_of(row) == "training"}

    @property
    def given_splits(self) -> dict[str, Split]:
        """The split of each training image that the data set itself sets aside, by the image's name."""
        return {row.name: row.split for row in self.rows if row.split in {"val", "holdout"}}

    @property
    def num_groups(self) -> int:
        """Number of patients."""
        return len({row.group for row in self.rows})


@dataclass(frozen=True)
class RowReport:
    """Properties of a decoded row."""

    name: str
    part: Part
    height: int
    width: int
    class_shares: dict[str, float]
    """Share of each class in the pixels of the region; empty without labels."""
    region_share: float | None
    """Share of the image's pixels inside the region, given or estimated; None where all pixels count."""
    pixels_sha256: str
    """Digest of the decoded pixels, independent of file name and lossless format."""


@dataclass(frozen=True)
class CheckResult:
    """Result of decoding every file of a data set."""

    reports: tuple[RowReport, ...]
    """Of the rows without errors, in their order."""
    findings: tuple[Finding, ...]
    """Errors before warnings."""


def load_reader(name: str) -> ModuleType:
    """The module that reads data sets of this name, with `read` and perhaps `check_row`.

    Raises:
        DatasetError: no reader has this name.
    """
    if name not in READERS:
        raise DatasetError(f"no data set reader is called {name!r}; {hint(name, sorted(READERS))}")
    return importlib.import_module(READERS[name])


def read(text: str, group_pattern: str | None = None) -> Dataset:
    """Read the data set of `NAME:DIR`; files are listed, paired and digested, not decoded.

    `group_pattern` is as `DataSettings.group_pattern`.

    Raises:
        DatasetError: the text has another form, the reader is unknown, the folder has another form, or the pattern
            does not fit the names.
    """
    name, _, folder = text.partition(":")
    if not name or not folder:
        raise DatasetError(f"a data set is named READER:FOLDER, as in drive:/data/DRIVE, not {text!r}")
    dataset: Dataset = load_reader(name).read(Path(folder).expanduser())
    if group_pattern is not None:
        if (dataset.root / groups.FILE_NAME).is_file():
            raise DatasetError(
                f"group_pattern and {dataset.root / groups.FILE_NAME} both give the patients; keep one of them"
            )
        patients = groups.by_pattern([row.name for row in dataset.rows], group_pattern)
        dataset = replace(dataset, rows=with_groups(dataset.rows, patients))
    return replace(dataset, findings=(*dataset.findings, *_divided_groups(dataset.rows)))


def open_dataset(text: str, group_pattern: str | None = None) -> Dataset:
    """As `read`, and raise if the data set has errors.

    Raises:
        DatasetError: as `read`, or a finding is an error.
    """
    dataset = read(text, group_pattern)
    raise_first_error(dataset.findings)
    return dataset


def raise_first_error(findings: Iterable[Finding]) -> None:
    """Raise the first error among the findings.

    Raises:
        DatasetError: there is one.
    """
    errors = [finding.message for finding in findings if finding.severity == "error"]
    if errors:
        others = f" ({counted(len(errors) - 1, 'more problem')}: `segkit data check` lists all)" if errors[1:] else ""
        raise DatasetError(errors[0] + others)


def check(dataset: Dataset) -> CheckResult:
    """Decode and check every file of a data set, and compare all images with each other."""
    own: Callable[[Dataset, Row], RowReport] | None = getattr(load_reader(dataset.name), "check_row", None)
    reports, findings = [], list(dataset.findings)
    for row in dataset.rows:
        try:
            reports.append(own(dataset, row) if own else check_row(row, dataset.classes))
        except* (DatasetError, ImageError) as errors:
            findings += [Finding("error", str(error)) for error in errors.exceptions]
    findings += _identical_pictures(dataset.rows, reports)
    findings += _unlike_published(dataset, reports)
    findings += _small_regions(dataset.rows, reports)
    findings += _mostly_vessel(dataset.classes, reports)
    return CheckResult(tuple(reports), tuple(sorted(findings, key=lambda finding: finding.severity)))


def with_groups(rows: Iterable[Row], patients: Mapping[str, str]) -> tuple[Row, ...]:
    """The rows with the groups of `patients`, by name."""
    return tuple(replace(row, group=patients[row.name]) for row in rows)


def _divided_groups(rows: Sequence[Row]) -> Iterator[Finding]:
    """Findings for patients with images in both parts of the data set."""
    parts: dict[str, dict[Split, str]] = {}
    for row in rows:
        parts.setdefault(row.group, {}).setdefault(row.split, row.name)
    words = {"train": "training", "val": "validation", "holdout": "held-out", "test": "test"}
    for group, names in parts.items():
        if len(names) > 1:
            which = " and ".join(words[split] for split in words if split in names)
            listed = ", ".join(names[split] for split in words if split in names)
            yield Finding(
                "error",
                f"patient {group} has {which} images ({listed}); a patient's images must not be divided: move all"
                " images of the patient to one part",
            )


def _identical_pictures(rows: Sequence[Row], reports: Iterable[RowReport]) -> Iterator[Finding]:
    """Findings for identical images: an error if parts or splits can divide them, else a warning."""
    by_name = {row.name: row for row in rows}
    by_pixels: dict[str, list[Row]] = {}
    for report in reports:
        by_pixels.setdefault(report.pixels_sha256, []).append(by_name[report.name])
    for same in by_pixels.values():
        if len(same) < 2:
            continue
        names = f"{groups.listed([row.name for row in same])} are the same image"
        if len({row.split for row in same}) > 1:
            parts = " and ".join(sorted({row.split for row in same}, reverse=True))
            yield Finding("error", f"{names}, in the parts {parts}; remove one")
        elif part_of(same[0]) == "training" and len({row.group for row in same}) > 1:
            yield Finding("error", f"{names}, and a split could divide them; remove one, or give them one group")
        else:
            yield Finding("warning", f"{names}, which counts more than once; remove all but one")


def _unlike_published(dataset: Dataset, reports: Sequence[RowReport]) -> Iterator[Finding]:
    """Where a copy of a public data set has another number of images, or images of another size."""
    published = dataset.published
    if published is None or dataset.phantom:
        return
    labelled = sum(row.reference is not None for row in dataset.rows)
    if labelled != published.num_labelled:
        number = counted(labelled, "labelled image")
        yield Finding("warning", f"{number}; the published data set has {published.num_labelled}")
    size = (published.height, published.width)
    others = [report for report in reports if (report.height, report.width) != size]
    if others:
        yield Finding(
            "warning",
            f"{groups.listed([report.name for report in others])} of another size than published"
            f" ({others[0].width}x{others[0].height}, not {size[1]}x{size[0]}); resized copies score differently",
        )


def _small_regions(rows: Sequence[Row], reports: Sequence[RowReport]) -> Iterator[Finding]:
    """Images whose estimated field of view is probably wrong."""
    estimated = {row.name for row in rows if row.region is None}
    small = [
        report.name
        for report in reports
        if report.name in estimated and report.region_share is not None and report.region_share < MIN_REGION_SHARE
    ]
    if small:
        yield Finding(
            "warning",
            f"the estimated field of view is less than {MIN_REGION_SHARE:.0%} of {groups.listed(small)}; give maps of"
            " it, or `field_of_view: false` in classes.yaml if the images are no fundus photographs",
        )


def _mostly_vessel(classes: Classes, reports: Sequence[RowReport]) -> Iterator[Finding]:
    """Label maps of vessels that are probably inverted, or drawn in transparency, which is not read."""
    full = [report.name for report in reports if max(report.class_shares.values(), default=0) > 0.5]
    if full and classes == VESSEL:
        yield Finding(
            "warning",
            f"more than half of the field of view is vessel in {groups.listed(full)}; vessels are white: invert the"
            " maps, or save them without transparency",
        )


def digest(root: Path, rows: Iterable[Row], others: Iterable[Path] = (), reader: str = "") -> str:
    """sha256 over the sorted relative names and the contents of the rows' files and of `others`, and of no more.

    Args:
        others: further files that decide what is read.
        reader: the reader's name, where another reader could read the same files otherwise.
    """
    paths = {source.path for row in rows for source in (row.image, *row.labels.values(), row.region) if source}
    paths |= set(others)
    total = hashlib.sha256(f"{reader}\n".encode() if reader else b"")
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in paths):
        total.update(f"{name}\0{files.sha256_file(path)}\n".encode())
    return total.hexdigest()


def existing_folder(root: Path) -> Path:
    """`root`, absolute, if it is a folder.

    Raises:
        DatasetError: it does not exist or is a file.
    """
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise DatasetError(f"{root} {problem}; give the folder that holds the data set, as in drive:/data/DRIVE")
    return root.resolve()


def stem(path: Path) -> str:
    """The name of an image file without its suffix and that of its packing, as im0001 of im0001.ppm.gz."""
    return Path(path.stem).stem if path.suffix.lower() == PACKED else path.stem


def image_files(folder: Path, recursive: bool = False, packed: bool = False) -> list[Path]:
    """The image files of a folder, by suffix, sorted; hidden files are skipped.

    Args:
        folder: a missing folder has no files.
        recursive: also list sub-folders, except hidden ones.
        packed: also list packed image files, as .ppm.gz.
    """
    if not folder.is_dir():
        return []
    paths = folder.glob("**/*" if recursive else "*")
    by_suffix = (path for path in paths if _suffix(path, packed) in images.SUFFIXES)
    return sorted(path for path in by_suffix if path.is_file() and not _is_hidden(path.relative_to(folder)))


def _suffix(path: Path, packed: bool) -> str:
    is_packed = packed and path.suffix.lower() == PACKED
    return (Path(path.stem) if is_packed else path).suffix.lower()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def ignored_files(folder: Path, used: Collection[str], reads: str) -> Iterator[Finding]:
    """Warnings for sub-folders that are not read, and for other files and sub-folders in those that are read.

    `used` are the names of the sub-folders that are read. `reads` ends the warning: it states what is read.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or not path.is_dir():
            continue
        files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
        if path.name not in used and files:
            yield Finding("warning", f"ignored: {path}/ ({counted(len(files), 'file')}); {reads}")
        elif others := [file for file in files if file.suffix.lower() not in images.SUFFIXES]:
            suffixes = ", ".join(sorted({file.suffix or file.name for file in others}))
            number = counted(len(others), "file")
            yield Finding("warning", f"ignored: {number} in {path}/ ({suffixes}); unpack them, or convert them to PNG")
        has_images = path.name in used and not (path / "images").is_dir()  # not training/ or test/
        for below in sorted(path.iterdir()) if has_images else ():
            if below.is_dir() and (deeper := image_files(below, recursive=True)):
                number = counted(len(deeper), "image")
                yield Finding("warning", f"ignored: {below}/ ({number}); sub-folders are not read")


@contextmanager
def _noted(errors: list[DatasetError | ImageError]) -> Iterator[None]:
    """Add what the block raises to `errors`, and go on after the block."""
    try:
        yield
    except (DatasetError, ImageError) as error:
        errors.append(error)


def check_row(row: Row, classes: Classes = VESSEL, size: tuple[int, int] | None = None) -> RowReport:
    """Decode the files of a row; its maps must have the image's size and must not be empty.

    `size` is the required height and width of the image; any if None.

    Raises:
        ImageError: a file is damaged.
        DatasetError: a size is wrong, a map is empty, or a label is not a class.
        ExceptionGroup: of several such errors.
    """
    errors: list[DatasetError | ImageError] = []
    image: Pixels | None = None
    region: Bools | None = None
    shares: dict[str, float] = {}
    with _noted(errors):
        image = images.read_image(*row.image)
    shape = None if image is None else image.shape[:2]
    if shape is not None and size is not None and shape != size:
        sizes = f"{shape[1]}x{shape[0]} pixels, expected {size[1]}x{size[0]}"
        errors.append(DatasetError(f"{row.image} is {sizes}; put the original file back"))
    if row.region is not None:
        with _noted(errors):
            region = images.read_mask(*row.region)
            _check_map(row, row.region, region, shape)
    elif image is not None and classes.field_of_view:
        region = estimate_fov(image)
    for role, source in row.labels.items():
        with _noted(errors):
            labels = read_labels(source, classes)
            with _noted(errors):
                _check_map(row, source, labels, shape)
            targets = _target_maps(source, labels, classes)
            if role == "reference":
                usable = region is not None and region.shape == labels.shape and region.any()
                inside = region if usable else np.ones(labels.shape, bool)
                means = [float(target[inside].mean()) for target in targets]
                shares = dict(zip(classes.names, means, strict=True))
    if len(errors) > 1:
        raise ExceptionGroup("several files of an image are wrong", errors)
    if errors:
        raise errors[0]
    assert image is not None
    height, width = image.shape[:2]
    return RowReport(
        name=row.name,
        part=part_of(row),
        height=height,
        width=width,
        class_shares=shares,
        region_share=None if region is None else float(region.mean()),
        pixels_sha256=hashlib.sha256(f"{height}x{width}\n".encode() + image.tobytes()).hexdigest(),
    )


def _target_maps(source: Source, labels: Labels, classes: Classes) -> npt.NDArray[np.float32]:
    try:
        return target_maps(labels, classes)
    except DatasetError as error:
        raise DatasetError(f"{source}: {error}") from error


def _check_map(row: Row, source: Source, values: npt.NDArray[np.generic], size: tuple[int, ...] | None) -> None:
    if size is not None and values.shape != size:
        raise DatasetError(
            f"{source} is {values.shape[1]}x{values.shape[0]} pixels, its image {row.image.path.name}"
            f" {size[1]}x{size[0]}; replace it with the map of this image"
        )
    if values.dtype == np.bool_ and not values.any():
        raise DatasetError(f"{source} marks no pixel; expected white (255) on black (0), put the original back")
