"""A plain folder of one's own: `images/`, `masks/` and, if there are any, `fov/`, paired by the names' stems.

Images without a file in `masks/` are the test part; all others are training. Below `training/` and `test/` the same
three folders may stand once each, and then those folders say which part an image belongs to.
"""

from pathlib import Path

from segkit.core.errors import DatasetError
from segkit.data import readers
from segkit.data.readers import Dataset, Item, ItemReport, Part

NAME = "folder"


def read(root: Path) -> Dataset:
    """List and pair the files.

    Raises:
        DatasetError: there are no images, a name occurs twice, or a map belongs to no image.
    """
    base = readers.folder_named(root)
    parts: tuple[Part, ...] = ("training", "test")
    divided = [part for part in parts if (base / part / "images").is_dir()]
    items = [item for part in divided for item in _items(base / part, part)] if divided else _items(base, None)
    if not items:
        raise DatasetError(f"{base / 'images'} holds no image; expected images/, masks/ and perhaps fov/ in {base}")
    names = [item.name for item in items]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"{base} holds {twice[0]} in training/ and in test/; rename one, names must differ")
    ordered = tuple(sorted(items, key=lambda item: item.name))
    return Dataset(name=NAME, root=base, items=ordered, digest=readers.digest(base, ordered))


def check(dataset: Dataset) -> tuple[ItemReport, ...]:
    """Decode every file; maps must have their image's size.

    Raises:
        DatasetError, ImageError: the first file that is wrong.
    """
    return tuple(readers.check_item(item) for item in dataset.items)


def _items(folder: Path, part: Part | None) -> list[Item]:
    pictures = _by_stem(folder / "images")
    vessels, fov = _by_stem(folder / "masks"), _by_stem(folder / "fov")
    for maps in (vessels, fov):
        for stem in sorted(maps.keys() - pictures.keys()):
            raise DatasetError(f"{maps[stem]} belongs to no image in {folder / 'images'}; names must be alike")
    return [
        Item(
            name=stem,
            part=part or ("training" if stem in vessels else "test"),
            image=path,
            vessels=vessels.get(stem),
            fov=fov.get(stem),
        )
        for stem, path in pictures.items()
    ]


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in readers.image_files(folder):
        if path.stem in found:
            raise DatasetError(f"{path} and {found[path.stem].name} have the same name; remove one of them")
        found[path.stem] = path
    return found
