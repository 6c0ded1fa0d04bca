"""A user's own images, or those of a data set, as rows to predict."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segkit.core import images
from segkit.core.errors import RequestError
from segkit.core.manifest import Row, Source
from segkit.data.readers import image_files, open_dataset, part_of


def listed_rows(paths: Sequence[Path], recursive: bool = False, left_out: Path | None = None) -> list[Row]:
    """A row for each image file, and for each image file in a folder, named by its stem.

    Files are listed, not opened.

    Args:
        paths: files and folders.
        recursive: also list the folders below; a name is then the path below the folder, as in `left/07`.
        left_out: a folder that is not listed, such as the one for the results.

    Raises:
        RequestError: a path does not exist, a folder holds no image, or two images have one name.
    """
    rows = []
    for path in paths:
        if not path.exists():
            raise RequestError(f"{path} does not exist; give images or folders of images")
        if not path.is_dir():
            rows.append(Row(path.stem, "test", Source(path)))
            continue
        listed = [file for file in image_files(path, recursive) if not _lies_in(file, left_out)]
        if not listed:
            below = not recursive and image_files(path, recursive=True)
            advice = "; its sub-folders do, add --recursive" if below else f" ({', '.join(sorted(images.SUFFIXES))})"
            raise RequestError(f"{path} holds no image{advice}")
        rows += [Row(file.relative_to(path).with_suffix("").as_posix(), "test", Source(file)) for file in listed]
    counts = Counter(row.name for row in rows)
    twice = [row.image.path for row in rows if counts[row.name] > 1]
    if twice:
        same = [row.image.path for row in rows if row.name == next(r.name for r in rows if r.image.path == twice[0])]
        raise RequestError(
            f"{same[0]} and {same[1]} have the same name and their results would overwrite each other; "
            "rename one, or predict them into two folders"
        )
    return rows


def dataset_rows(data: str, split: str) -> list[Row]:
    """The images of a data set's part ("training", "test" or "all"), each with its field of view if it has one.

    Raises:
        RequestError: the data set cannot be read, or the part is empty.
    """
    rows = [row for row in open_dataset(data).rows if split in {"all", part_of(row)}]
    if not rows:
        raise RequestError(f"{data} has no images in its {split} part; give another --split")
    return [replace(row, split="test", labels={}) for row in rows]


def _lies_in(file: Path, folder: Path | None) -> bool:
    return folder is not None and file.resolve().is_relative_to(folder.resolve())
