"""Rows to predict: a user's images, or those of a data set."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segkit.core import images
from segkit.core.errors import RequestError
from segkit.core.manifest import Row, Source
from segkit.core.names import check_unique
from segkit.data.readers import image_files, open_dataset, part_of


def file_rows(paths: Sequence[Path], recursive: bool = False, excluded: Path | None = None) -> list[Row]:
    """A row for each image file and each image file in a folder. Files are not opened.

    A row has the name of its file without the suffix. Files that differ only in the suffix keep it, as `eye.jpg` and
    `eye.png`.

    Args:
        paths: files and folders.
        recursive: also list sub-folders; a name is then the path relative to the folder, as in `left/07`.
        excluded: a folder that is not listed, such as the output folder.

    Raises:
        RequestError: a path does not exist, a folder holds no image, or two images have the same name.
    """
    rows = []
    for path in paths:
        if not path.exists():
            raise RequestError(f"{path} does not exist; give images or folders of images")
        if not path.is_dir():
            rows.append(Row(path.stem, "test", Source(path)))
            continue
        listed = [file for file in image_files(path, recursive) if not _is_inside(file, excluded)]
        if not listed:
            below = not recursive and image_files(path, recursive=True)
            advice = "; its sub-folders do, add --recursive" if below else f" ({', '.join(sorted(images.SUFFIXES))})"
            raise RequestError(f"{path} holds no image{advice}")
        rows += [Row(file.relative_to(path).with_suffix("").as_posix(), "test", Source(file)) for file in listed]
    num_rows = Counter(row.name for row in rows)
    rows = [
        row if num_rows[row.name] == 1 else replace(row, name=row.name + row.image.path.suffix.lower()) for row in rows
    ]
    files = [row.image.path for row in rows]
    advice = "rename one, or predict them into two folders"
    check_unique((row.name for row in rows), RequestError, "images", files, advice)
    return rows


def dataset_rows(data: str, split: str) -> list[Row]:
    """The images of a part of a data set ("training", "test" or "all"), with their fields of view.

    Raises:
        RequestError: the data set cannot be read, or the part is empty.
    """
    rows = [row for row in open_dataset(data).rows if split in {"all", part_of(row)}]
    if not rows:
        raise RequestError(f"{data} has no images in its {split} part; give another --split")
    return [replace(row, split="test", labels={}) for row in rows]


def _is_inside(file: Path, folder: Path | None) -> bool:
    return folder is not None and file.resolve().is_relative_to(folder.resolve())
