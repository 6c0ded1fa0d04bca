"""A folder of one's own: `images/`, `masks/` (label maps) and, if there are any, `fov/`, paired by the names' stems.

    images/p1_left.png   masks/p1_left.png   fov/p1_left.png      all of them training images
    training/images/...  training/masks/...  test/images/...      or divided; test images may have no labels

A `classes.yaml` names what the label maps hold, as `{kind: multiclass, names: [background, vessel, disc]}`; without
one they mark vessels, white on black. Without `training/` and `test/` every image needs a label map. A `groups.csv` in
the folder gives the patient of each image; without one, images with CHASE_DB1's names are grouped by child and all
others are their own group.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from segkit.core.classes import VESSEL, Classes
from segkit.core.config import read_yaml, validate
from segkit.core.errors import DatasetError
from segkit.core.manifest import Row, Source
from segkit.core.wording import counted
from segkit.data import groups, readers
from segkit.data.readers import Dataset, Finding, Part, RowReport

NAME = "folder"
PARTS: tuple[Part, ...] = ("training", "test")
FOLDERS = ("images", "masks", "fov")
CLASSES = "classes.yaml"
READS = "labels are read from masks/, fields of view from fov/"
READS_PARTS = "images are read from training/ and test/"
MOVE_OTHERS = " and all others, with their maps, in training/"


def read(root: Path) -> Dataset:
    """List and pair the files; what is wrong with single images is among the findings.

    Raises:
        DatasetError: there are no images, a name occurs twice, or groups.csv does not fit the images or lies elsewhere.
    """
    base = readers.existing_folder(root)
    divided = [part for part in PARTS if (base / part / "images").is_dir()]
    places: dict[Path, Part] = {base / part: part for part in divided} or {base: "training"}
    files = {folder: {name: _by_stem(folder / name) for name in FOLDERS} for folder in places}
    rows = [_row(stem, part, files[folder]) for folder, part in places.items() for stem in files[folder]["images"]]
    ignored = list(readers.ignored_files(base, divided, READS_PARTS) if divided else ())
    ignored += [finding for folder in places for finding in readers.ignored_files(folder, FOLDERS, READS)]
    if not rows:
        also = "".join(f"; {finding.message}" for finding in ignored)
        raise DatasetError(
            f"{base / 'images'} holds no image; expected images/, masks/ and perhaps fov/ in {base}{also}"
        )
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{base} holds {twice[0]} in training/ and in test/; rename one, names must differ")
    findings = [
        finding for folder, part in places.items() for finding in _pairing(folder, part, files[folder], bool(divided))
    ]
    table, classes = groups.table(base), base / CLASSES
    patients = groups.from_file(table, names) if table else groups.of_names(names)
    return Dataset(
        name=NAME,
        root=base,
        rows=readers.with_groups(sorted(rows, key=lambda row: row.name), patients),
        digest=readers.digest(base, rows, [path for path in (table, classes) if path and path.is_file()]),
        classes=_classes(classes),
        findings=(*findings, *ignored),
    )


def check_row(dataset: Dataset, row: Row) -> RowReport:
    """Decode a row's files; maps must have their image's size.

    Raises:
        DatasetError, ImageError: the first file that is wrong.
    """
    return readers.check_row(row, dataset.classes)


def _row(stem: str, part: Part, files: Mapping[str, Mapping[str, Path]]) -> Row:
    labels, regions = files["masks"], files["fov"]
    return Row(
        name=stem,
        split="train" if part == "training" else "test",
        image=Source(files["images"][stem]),
        labels={"reference": Source(labels[stem])} if stem in labels else {},
        region=Source(regions[stem]) if stem in regions else None,
    )


def _classes(path: Path) -> Classes:
    """What `classes.yaml` says; vessels without one."""
    return validate(Classes, read_yaml(path), str(path)) if path.is_file() else VESSEL


def _pairing(folder: Path, part: Part, files: Mapping[str, Mapping[str, Path]], divided: bool) -> Iterator[Finding]:
    """Maps without an image, and training images without labels."""
    pictures, labels = files["images"], files["masks"]
    for name in ("masks", "fov"):
        if orphans := sorted(files[name].keys() - pictures.keys()):
            listed = groups.listed([files[name][stem].name for stem in orphans])
            example = f", as {min(pictures)}.png" if pictures else ""
            yield Finding(
                "error",
                f"{folder / name}: {listed} {'belongs' if len(orphans) == 1 else 'belong'} to no image in"
                f" {folder / 'images'}; maps are named like their images{example}",
            )
    unlabelled = sorted(pictures.keys() - labels.keys())
    if part == "training" and unlabelled:
        whose = f"{len(unlabelled)} of {counted(len(pictures), 'image')} in {folder / 'images'}"
        yield Finding(
            "error",
            f"{whose} {'has' if len(unlabelled) == 1 else 'have'} no label map in {folder / 'masks'}:"
            f" {groups.listed(unlabelled)}; add the label maps, or keep these images in"
            f" {(folder.parent if divided else folder) / 'test' / 'images'}{'' if divided else MOVE_OTHERS}",
        )


def _by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in readers.image_files(folder):
        if path.stem in files:
            raise DatasetError(f"{path} and {files[path.stem].name} have the same name; remove one of them")
        files[path.stem] = path
    return files
