"""A user's folder: `images/`, `masks/` (label maps) and optionally `fov/`, paired by file stems.

    images/p1_left.png   masks/p1_left.png   fov/p1_left.png      all are training images
    training/images/...  training/masks/...  test/images/...      or in two parts; test images need no labels

A `classes.yaml` names what the label maps hold, as `{kind: multiclass, names: [background, vessel, disc]}`; without
one they mark vessels, white on black. With `colors` in it, label maps may be coded by colour; `field_of_view: false`
there means that all pixels of an image without a map in `fov/` count. Without `training/` and `test/` every image needs
a label map. A `groups.csv` in the folder gives the patient of each image; without one, images with CHASE_DB1's names
are grouped by child and all others are their own group.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from segkit.core.classes import VESSEL, Classes
from segkit.core.config import read_yaml, validate
from segkit.core.errors import DatasetError
from segkit.core.manifest import Row
from segkit.core.wording import counted
from segkit.data import groups, pairing, readers
from segkit.data.pairing import Kind
from segkit.data.readers import Dataset, Finding, Part

NAME = "folder"
PARTS: tuple[Part, ...] = ("training", "test")
FOLDERS: dict[str, Kind] = {"images": "image", "masks": "reference", "fov": "region"}
CLASSES = "classes.yaml"
READS = "labels are read from masks/, fields of view from fov/"
READS_PARTS = "images are read from training/ and test/"
MOVE_OTHERS = " and all others, with their maps, in training/"


def read(root: Path) -> Dataset:
    """List and pair the files; problems of single images are added to the findings.

    Raises:
        DatasetError: there are no images, or groups.csv does not fit the images or lies elsewhere.
    """
    base = readers.existing_folder(root)
    return list_folder(base, read_classes(base / CLASSES), groups.child)


def list_folder(base: Path, classes: Classes, group_of: Callable[[str], str], reader: str = "") -> Dataset:
    """List and pair the files of a folder of this layout; as `read`.

    Args:
        group_of: the patient of an image, by its name, where there is no groups.csv.
        reader: name of the reader, if it is another one.

    Raises:
        DatasetError: there are no images, or groups.csv does not fit the images or lies elsewhere.
    """
    divided = [part for part in PARTS if (base / part / "images").is_dir()]
    places: dict[Path, Part] = {base / part: part for part in divided} or {base: "training"}
    findings: list[Finding] = []
    files = {folder: {name: _by_stem(folder / name, findings) for name in FOLDERS} for folder in places}
    rows: dict[str, Row] = {}
    for folder, part in places.items():
        findings += _pairing(folder, part, files[folder], bool(divided))
        for stem in files[folder]["images"]:
            own = {kind: files[folder][name][stem] for name, kind in FOLDERS.items() if stem in files[folder][name]}
            row = pairing.row_of(stem, "train" if part == "training" else "test", own)
            if rows.setdefault(stem, row) is not row:
                problem = f"{base} holds {stem} in training/ and in test/; rename one, names must differ"
                findings.append(Finding("error", problem))
    findings += readers.ignored_files(base, divided, READS_PARTS) if divided else ()
    findings += [finding for folder in places for finding in readers.ignored_files(folder, FOLDERS, READS)]
    if not rows:
        also = "".join(f"; {finding.message}" for finding in findings)
        raise DatasetError(
            f"{base / 'images'} holds no image; expected images/, masks/ and optionally fov/ in {base}{also}"
        )
    table = groups.table(base)
    patients = groups.from_file(table, list(rows)) if table else {name: group_of(name) for name in rows}
    listed = readers.with_groups(sorted(rows.values(), key=lambda row: row.name), patients)
    others = [path for path in (table, base / CLASSES) if path and path.is_file()]
    return Dataset(
        name=reader or NAME,
        root=base,
        rows=listed,
        digest=readers.digest(base, listed, others, reader),
        classes=classes,
        phantom=(base / readers.PHANTOM_MARKER).is_file(),
        findings=tuple(findings),
    )


def read_classes(path: Path, default: Classes = VESSEL) -> Classes:
    """The classes that a `classes.yaml` names; the default without one.

    Raises:
        ConfigError: the file is no YAML, or holds a wrong key or value.
    """
    return validate(Classes, read_yaml(path), str(path)) if path.is_file() else default


def _pairing(folder: Path, part: Part, files: Mapping[str, Mapping[str, Path]], divided: bool) -> Iterator[Finding]:
    """Findings for maps without an image and training images without labels."""
    pictures, labels = files["images"], files["masks"]
    for name in ("masks", "fov"):
        if orphans := sorted(files[name].keys() - pictures.keys()):
            listed = groups.listed([files[name][stem].name for stem in orphans])
            example = f", as {min(pictures)}.png" if pictures else ""
            yield Finding(
                "error",
                f"{folder / name}: {listed} {'belongs' if len(orphans) == 1 else 'belong'} to no image in"
                f" {folder / 'images'}; a map has the name of its image{example}",
            )
    unlabelled = sorted(pictures.keys() - labels.keys())
    if part == "training" and unlabelled:
        count = f"{len(unlabelled)} of {counted(len(pictures), 'image')} in {folder / 'images'}"
        yield Finding(
            "error",
            f"{count} {'has' if len(unlabelled) == 1 else 'have'} no label map in {folder / 'masks'}:"
            f" {groups.listed(unlabelled)}; add the label maps, or keep these images in"
            f" {(folder.parent if divided else folder) / 'test' / 'images'}{'' if divided else MOVE_OTHERS}",
        )


def _by_stem(folder: Path, findings: list[Finding]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in readers.image_files(folder):
        if files.setdefault(path.stem, path) is not path:
            problem = f"{path} and {files[path.stem].name} have the same name; remove one of them"
            findings.append(Finding("error", problem))
    return files
