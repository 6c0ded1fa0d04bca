"""DRIVE (Staal et al. 2004): 20 training and 20 test images of 565x584, paired by their numbers.

    training/images/21_training.tif  training/1st_manual/21_manual1.gif  training/mask/21_training_mask.gif
    test/images/01_test.tif          test/mask/01_test_mask.gif

The official download has no vessel maps for the test part; older copies add `1st_manual` and `2nd_manual` there.
Phantom data sets have the same form and a `phantom.json` with the number and the size of their images.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from segkit.core import files
from segkit.core.errors import DatasetError
from segkit.core.manifest import Row, Split
from segkit.data import groups, pairing, readers
from segkit.data.pairing import Kind
from segkit.data.readers import Dataset, Finding, Part, RowReport

NAME = "drive"
PARTS: tuple[Part, ...] = ("training", "test")
MARKER_NAME = readers.PHANTOM_MARKER
"""In the root of a phantom data set: `{"training": n, "test": n, "height": h, "width": w}`."""

_MAPS: dict[Kind, tuple[str, str]] = {
    "reference": ("1st_manual", "{number}_manual1"),
    "region": ("mask", "{number}_{part}_mask"),
    "observer2": ("2nd_manual", "{number}_manual2"),
}
FOLDERS = ("images", *(folder for folder, _ in _MAPS.values()))
READS = "labels are read from 1st_manual/ and 2nd_manual/, fields of view from mask/"
_REQUIRED = {("training", "reference"), ("training", "region"), ("test", "region")}


@dataclass(frozen=True)
class Expectation:
    """Required number and size of images of a data set of this form."""

    training: int = 20
    test: int = 20
    height: int = 584
    width: int = 565

    def count(self, part: Part) -> int:
        """Number of images in a part."""
        return self.training if part == "training" else self.test


def read(root: Path) -> Dataset:
    """List and pair the files of a DRIVE folder, of the folder around it or of a phantom data set.

    A file that is missing, extra or there twice is among the findings.

    Raises:
        DatasetError: there is no DRIVE folder, or groups.csv does not fit the images or lies elsewhere.
    """
    base = _base(readers.existing_folder(root))
    expected = expectation(base)
    findings: list[Finding] = []
    rows = [row for part in PARTS for row in _part(base, part, expected.count(part), findings)]
    rows, table = pairing.grouped(base, rows), groups.table(base)
    findings += [finding for part in PARTS for finding in readers.ignored_files(_folder(base, part), FOLDERS, READS)]
    return Dataset(
        name=NAME,
        root=base,
        rows=tuple(sorted(rows, key=lambda row: row.name)),
        digest=readers.digest(base, rows, [table] if table else []),
        phantom=(base / MARKER_NAME).is_file(),
        findings=tuple(findings),
    )


def check_row(dataset: Dataset, row: Row) -> RowReport:
    """Decode the files of a row and compare sizes.

    A vessel map that marks half of the image is an error: it is probably in the wrong folder.

    Raises:
        DatasetError, ImageError: the first file that is wrong.
    """
    expected = expectation(dataset.root)
    report = readers.check_row(row, dataset.classes, (expected.height, expected.width))
    share = report.class_shares.get("vessel", 0.0)
    if share >= 0.5:
        raise DatasetError(
            f"{row.reference} marks {share:.0%} of the field of view as vessel, about 13 % is usual;"
            " is it a field-of-view mask or inverted? Put the original back"
        )
    return report


def expectation(base: Path) -> Expectation:
    """Required contents of the folder: DRIVE's own numbers, or those of `phantom.json`.

    Raises:
        DatasetError: `phantom.json` is damaged.
    """
    marker = base / MARKER_NAME
    if not marker.is_file():
        return Expectation()
    try:
        numbers = files.read_json(marker)
        return Expectation(**{key: int(numbers[key]) for key in ("training", "test", "height", "width")})
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{marker} is damaged ({error}); draw the phantoms again") from error


def _base(root: Path) -> Path:
    """The folder that contains training/: `root` or the one below it."""
    if _has_images(root / "training"):
        return root
    below = [child for child in sorted(root.iterdir()) if child.is_dir() and _has_images(child / "training")]
    if len(below) == 1:
        return below[0]
    if below:
        names = ", ".join(child.name for child in below)
        raise DatasetError(f"{root} holds {len(below)} data sets ({names}); give the folder of one of them")
    hint = f"; did you mean {root.parent}?" if root.name in PARTS and _has_images(root) else ""
    raise DatasetError(f"{root} holds no training/images, so it is not a DRIVE folder (training/ and test/){hint}")


def _has_images(folder: Path) -> bool:
    return (folder / "images").is_dir() or (folder / folder.name / "images").is_dir()


def _part(base: Path, part: Part, count: int, findings: list[Finding]) -> list[Row]:
    folder = _folder(base, part)
    extra: list[Finding] = []
    pictures = _by_number(folder / "images", "{number}_{part}", part, extra)
    if len(pictures) != count:
        advice = "remove the extra files" if len(pictures) > count else "copy the missing files"
        gap = _gap(pictures, base, part, count)
        problem = f"{folder / 'images'} holds {len(pictures)} images, expected {count}{gap}; {advice}"
        findings.append(Finding("error", problem))
    findings += extra
    maps = {role: _maps(folder, role, part, pictures, findings) for role in _MAPS}
    kinds: dict[Kind, dict[int, Path]] = {"image": pictures, **maps}
    split: Split = "train" if part == "training" else "test"
    return [
        pairing.row_of(path.stem, split, {kind: files[number] for kind, files in kinds.items() if number in files})
        for number, path in pictures.items()
    ]


def _folder(base: Path, part: Part) -> Path:
    # The download has one archive per part, which may have been unpacked into a folder of its name.
    return base / part if (base / part / "images").is_dir() else base / part / part


def _gap(pictures: dict[int, Path], base: Path, part: Part, count: int) -> str:
    """Which numbers of the real DRIVE are missing or extra, as a part of a message."""
    if (base / MARKER_NAME).is_file():
        return ""
    official = set(range(21, 41) if part == "training" else range(1, 21))
    wrong = sorted(official - pictures.keys() if len(pictures) < count else pictures.keys() - official)
    word = "missing" if len(pictures) < count else "not expected"
    return f" ({word}: {', '.join(f'{number:02d}' for number in wrong)})" if wrong else ""


def _maps(folder: Path, role: Kind, part: Part, pictures: dict[int, Path], findings: list[Finding]) -> dict[int, Path]:
    """The files of a role by number: one per image, or none if the role is optional."""
    name, stem = _MAPS[role]
    maps = _by_number(folder / name, stem, part, findings)
    required = bool(maps) or (part, role) in _REQUIRED
    for number in sorted(pictures.keys() - maps.keys()) if required else ():
        file = stem.format(number=_digits(pictures[number]), part=part)
        problem = f"{folder / name / file}.gif is missing, which belongs to {pictures[number].name}; copy it there"
        findings.append(Finding("error", problem))
    for number in sorted(maps.keys() - pictures.keys()):
        problem = f"{maps[number]} belongs to no image in {folder / 'images'}; remove it or add its image"
        findings.append(Finding("error", problem))
    return maps


def _by_number(folder: Path, stem: str, part: Part, findings: list[Finding]) -> dict[int, Path]:
    """Image files by the number at the beginning of their names; another name, or a duplicate number, is an error."""
    pattern = re.compile(stem.format(number=r"(\d+)", part=part))
    files: dict[int, Path] = {}
    for path in readers.image_files(folder):
        match = pattern.fullmatch(path.stem)
        if match is None:
            expected = stem.format(number="NN", part=part)
            problem = f"{path} is extra: files here are called {expected}.*; remove or rename it"
            findings.append(Finding("error", problem))
        elif files.setdefault(int(match[1]), path) is not path:
            problem = f"{path} and {files[int(match[1])].name} have the same number; remove one of them"
            findings.append(Finding("error", problem))
    return files


def _digits(path: Path) -> str:
    return path.stem.split("_")[0]
