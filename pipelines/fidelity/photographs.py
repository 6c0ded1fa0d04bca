"""Which photographs a GAN is measured against: those it learnt from, and beside them others that it never saw."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gan.snapshots import SNAPSHOTS
from segkit.core import images
from segkit.core.errors import RequestError, SegkitError
from segkit.core.files import read_json
from segkit.core.manifest import FILE_NAME, read_manifest
from segkit.core.outputs import FINISHED
from segkit.data.readers import image_files, open_dataset

HELDOUT = ("val", "holdout", "test")


@dataclass(frozen=True)
class Photographs:
    """Files, and what to call them in the key of a number."""

    name: str
    """As in drive_train."""
    training: tuple[Path, ...]
    """What the GAN learnt from."""
    heldout: tuple[Path, ...] = ()
    """What it never saw: the yardstick of every measure."""
    note: str = ""
    """Why it is not certain that the GAN learnt from the first and never saw the second; empty by its own record."""
    groups: Mapping[Path, str] = field(default_factory=dict)
    """Patient of each file; a file that is not named is its own patient's only one."""

    @property
    def num_training_groups(self) -> int:
        """Patients that the training photographs are of."""
        return len({self.groups.get(path, str(path)) for path in self.training})

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first one, to which what is drawn is scaled back."""
        return images.read_size(self.training[0])


def of_data_stage(folder: Path) -> Photographs:
    """The train split of a data stage's folder; all others are held out.

    Raises:
        DatasetError: the folder holds no manifest.
        RequestError: none of its images is for training.
    """
    rows = read_manifest(folder)
    training = tuple(row.image.path for row in rows.split("train").rows)
    if not training:
        raise RequestError(f"{folder} has no image in its train split; give the folder of a data stage")
    heldout = tuple(row.image.path for split in HELDOUT for row in rows.split(split).rows)  # type: ignore[arg-type]
    groups = {row.image.path: row.group for row in rows.rows}
    return Photographs(f"{_source(folder)}_train", training, heldout, groups=groups)


def of_dataset(text: str) -> Photographs:
    """The training part of the data set that NAME:DIR names; its test part is held out.

    Raises:
        DatasetError: there is no such reader or data set.
        RequestError: it has no training part.
    """
    dataset = open_dataset(text)
    parts = {
        part: tuple(row.image.path for row in dataset.rows if part_of(row) == part) for part in ("training", "test")
    }
    if not parts["training"]:
        raise RequestError(f"{text} has no training images; give them with --images DIR")
    groups = {row.image.path: row.group for row in dataset.rows}
    return Photographs(f"{plain(dataset.name)}_training", parts["training"], parts["test"], groups=groups)


def of_folder(folder: Path) -> Photographs:
    """Every image in a folder, none held out.

    Raises:
        RequestError: it is none or holds no image.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder; give a folder of photographs")
    found = image_files(folder)
    if not found:
        raise RequestError(f"{folder} holds no image (.png, .tif, .jpg, .gif, .ppm); give a folder of photographs")
    return Photographs(plain(folder.resolve().name), tuple(found))


def find(data: str | None, folder: Path | None, weights: Path) -> Photographs:
    """What the request names; else what the GAN's own record names.

    Args:
        data: NAME:DIR or the folder of a data stage.
        folder: any folder of images.
        weights: the GAN's folder, whose `done.json` tells which data stage it read.

    Raises:
        RequestError: both are given, or neither and there is no record.
    """
    if data is not None and folder is not None:
        raise RequestError("--data and --images both name photographs; give one of them")
    recorded = learnt_from(weights)
    if folder is not None:
        return _noted(of_folder(folder), recorded)
    if data is not None:
        return _noted(of_data_stage(Path(data)) if Path(data).is_dir() else of_dataset(data), recorded)
    if recorded is None:
        raise RequestError(
            f"{weights} does not tell which photographs it learnt from; give --data NAME:DIR, --data DIR of a data "
            "stage, or --images DIR"
        )
    return of_data_stage(recorded)


def _noted(photographs: Photographs, recorded: Path | None) -> Photographs:
    """The photographs of a request, with what the GAN's own record says of them."""
    if recorded is None:
        note = "these weights have no record of what the GAN learnt from; the photographs are those of the request"
        return replace(photographs, note=note)
    names = [sorted(path.name for path in each.training) for each in (photographs, of_data_stage(recorded))]
    if names[0] == names[1]:
        return photographs
    note = (
        "by its record this GAN learnt from another set of photographs; leave out --data and --images to measure it "
        f"against those in {recorded}"
    )
    return replace(photographs, note=note)


def learnt_from(weights: Path) -> Path | None:
    """The data stage that a pipeline's GAN, or its snapshot, was trained on, if its folder is where the record says."""
    whole = weights.resolve()
    run = whole.parent.parent if whole.parent.name == SNAPSHOTS else whole
    try:
        folder = (run / read_json(run / FINISHED)["inputs"]["data"]["folder"]).resolve()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if (folder / FILE_NAME).is_file() else None


def _source(folder: Path) -> str:
    """What a data stage read, by its record: drive, phantom, ..."""
    try:
        record: Any = read_json(folder / FINISHED)
        return plain(str(record["settings"]["source"]).partition(":")[0])
    except (OSError, ValueError, KeyError, TypeError, SegkitError):
        return plain(re.sub(r"-[0-9a-f]{12}$", "", folder.resolve().name))


def plain(name: str) -> str:
    """A name that will do inside a key: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower() or "photographs"
