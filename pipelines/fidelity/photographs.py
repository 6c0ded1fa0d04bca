"""Which photographs a GAN is measured against: its training images, and held-out ones for comparison."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gan.training.snapshots import SNAPSHOTS
from segkit.core import images
from segkit.core.errors import RequestError
from segkit.core.files import read_json
from segkit.core.manifest import FILE_NAME, Split, read_manifest
from segkit.core.outputs import FINISHED
from segkit.data.readers import image_files, open_dataset, part_of

HELDOUT: tuple[Split, ...] = ("val", "holdout", "test")


@dataclass(frozen=True)
class Photographs:
    """Reference and held-out photographs."""

    name: str
    """Part of the key of a number, as in drive_train."""
    training: tuple[Path, ...]
    """The reference photographs: the GAN's training images."""
    heldout: tuple[Path, ...] = ()
    """Photographs the GAN was not trained on; a perfect GAN would reach their numbers."""
    note: str = ""
    """Why the GAN may have been trained on other photographs; empty if its own record names these."""
    groups: Mapping[Path, str] = field(default_factory=dict)
    """Patient of each file; a file without one counts as a patient of its own."""

    @property
    def num_training_groups(self) -> int:
        """Patients of the reference photographs."""
        return len({self.groups.get(path, str(path)) for path in self.training})

    @property
    def heldout_title(self) -> str:
        """Name of the held-out photographs in tables."""
        return "other photographs" if self.note else "held-out photographs"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first one, to which generated images are scaled."""
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
    heldout = tuple(row.image.path for split in HELDOUT for row in rows.split(split).rows)
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
    return Photographs(f"{as_key(dataset.name)}_training", parts["training"], parts["test"], groups=groups)


def of_folder(folder: Path) -> Photographs:
    """Every image in a folder, none held out.

    Raises:
        RequestError: it is none or holds no image.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder; give a folder of photographs")
    paths = image_files(folder)
    if not paths:
        raise RequestError(f"{folder} holds no image (.png, .tif, .jpg, .gif, .ppm); give a folder of photographs")
    return Photographs(as_key(folder.resolve().name), tuple(paths))


def find(data: str | None, folder: Path | None, weights: Path) -> Photographs:
    """The photographs named in the request, else those in the GAN's own record.

    Args:
        data: NAME:DIR or the folder of a data stage.
        folder: any folder of images.
        weights: the GAN's folder, whose `done.json` names the data stage it was trained on.

    Raises:
        RequestError: both are given, or neither is and there is no record.
    """
    if data is not None and folder is not None:
        raise RequestError("--data and --images both name photographs; give one of them")
    recorded = recorded_data(weights)
    if folder is not None:
        requested = of_folder(folder)
    elif data is not None:
        requested = of_data_stage(Path(data)) if Path(data).is_dir() else of_dataset(data)
    elif recorded is not None:
        return of_data_stage(recorded)
    else:
        raise RequestError(
            f"{weights} does not record its training photographs; give --data NAME:DIR, --data DIR of a data stage, or "
            "--images DIR"
        )
    return replace(requested, note=_note(requested, recorded))


def _note(requested: Photographs, recorded: Path | None) -> str:
    if recorded is None:
        return "these weights do not record the GAN's training photographs; those of the request may be others"
    names = [sorted(path.name for path in source.training) for source in (requested, of_data_stage(recorded))]
    if names[0] == names[1]:
        return ""
    return (
        "by its record this GAN was trained on other photographs; leave out --data and --images to use those in "
        f"{recorded}"
    )


def recorded_data(weights: Path) -> Path | None:
    """The data stage that a GAN or its snapshot was trained on; None if it is not recorded or its folder is gone."""
    whole = weights.resolve()
    run = whole.parent.parent if whole.parent.name == SNAPSHOTS else whole
    try:
        folder = (run / read_json(run / FINISHED)["inputs"]["data"]["folder"]).resolve()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if (folder / FILE_NAME).is_file() else None


def _source(folder: Path) -> str:
    """The data set of a data stage by its record: drive, phantom, ..."""
    try:
        return as_key(str(read_json(folder / FINISHED)["settings"]["source"]).partition(":")[0])
    except (OSError, ValueError, KeyError, TypeError):
        return stage_key(folder)


def stage_key(folder: Path) -> str:
    """The name of a stage's folder without the digits of its fingerprint, as part of a key."""
    return as_key(re.sub(r"-[0-9a-f]{12}$", "", folder.resolve().name))


def as_key(name: str) -> str:
    """The name as part of a key: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower() or "photographs"
