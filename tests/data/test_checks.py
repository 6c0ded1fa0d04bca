"""Everything that is wrong with a data set, reported at once."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from segkit.core import images
from segkit.core.errors import DatasetError
from segkit.data import readers
from tests.data import chase


def findings(root: Path, reader: str = "folder") -> list[tuple[str, str]]:
    return [(found.severity, found.message) for found in readers.check(readers.read(f"{reader}:{root}")).findings]


def test_a_whole_folder_has_no_findings(tmp_path: Path) -> None:
    assert findings(chase.write(tmp_path)) == []


def test_every_finding_is_reported_at_once_errors_first(tmp_path: Path) -> None:
    chase.write(tmp_path)
    (tmp_path / "masks" / "Image_03R.png").unlink()
    chase.draw_labels(tmp_path / "masks" / "Image_03R_1stHO.png")
    chase.draw_labels(tmp_path / "manual1" / "Image_03R.png")
    shutil.copy(tmp_path / "images" / "Image_01L.png", tmp_path / "images" / "Image_05L.png")
    (tmp_path / "images" / "Image_07L.png").write_bytes(b"no image")
    (tmp_path / "images" / "Image_15L.ppm.gz").write_bytes(b"packed")
    found = findings(tmp_path)
    assert [severity for severity, _ in found] == ["error"] * 4 + ["warning"] * 2
    words = ["Image_03R_1stHO.png belongs to no image", "1 of 28 images", "Image_07L.png", "Image_01L and Image_05L",
             "1 file in", "manual1/ (1 file)"]  # fmt: skip
    assert [word in message for word, (_, message) in zip(words, found, strict=True)] == [True] * 6


@pytest.mark.parametrize("part", ["", "training"])
def test_images_in_sub_folders_are_not_passed_over_silently(tmp_path: Path, part: str) -> None:
    folder = chase.write(tmp_path / part) / "images" / "more"
    chase.draw(folder / "x.png", 99)
    assert findings(tmp_path) == [("warning", f"ignored: {folder}/ (1 image); sub-folders are not read")]


def test_inverted_label_maps_are_reported(tmp_path: Path) -> None:
    chase.write(tmp_path)
    images.write_mask(tmp_path / "masks" / "Image_02L.png", ~np.eye(*chase.SIZE, dtype=bool))
    [(severity, message)] = findings(tmp_path)
    assert severity == "warning"
    assert "half of the field of view is vessel in Image_02L;" in message
    (tmp_path / "classes.yaml").write_text("names: [cell]")
    assert findings(tmp_path) == []


def test_images_without_labels_do_not_become_test_images(tmp_path: Path) -> None:
    chase.write(tmp_path)
    for name in ("Image_02L", "Image_09R"):
        (tmp_path / "masks" / f"{name}.png").unlink()
    [(severity, message)] = findings(tmp_path)
    assert severity == "error"
    assert "2 of 28 images" in message
    assert "Image_02L and Image_09R" in message
    with pytest.raises(DatasetError, match="no label map"):
        readers.open_dataset(f"folder:{tmp_path}")


def test_images_without_labels_are_test_images_where_the_folder_is_divided(tmp_path: Path) -> None:
    chase.write(tmp_path / "training", chase.NAMES[:20])
    for number, name in enumerate(chase.NAMES[20:]):
        chase.draw(tmp_path / "test" / "images" / f"{name}.png", 50 + number)
    dataset = readers.open_dataset(f"folder:{tmp_path}")
    assert readers.check(dataset).findings == ()
    assert [row.name for row in dataset.rows if row.split == "test"] == chase.NAMES[20:]
    (tmp_path / "training" / "masks" / "Image_01L.png").unlink()
    [(severity, message)] = findings(tmp_path)
    assert severity == "error"
    assert str(tmp_path / "test" / "images") in message


def test_hrf_in_its_own_layout_does_not_lose_its_labels_silently(tmp_path: Path) -> None:
    for number, name in enumerate(("01_dr", "01_g", "02_h")):
        chase.draw(tmp_path / "images" / f"{name}.JPG", number)
        chase.draw_labels(tmp_path / "manual1" / f"{name}.tif")
        chase.draw_labels(tmp_path / "mask" / f"{name}_mask.tif")
    (_, error), *ignored = findings(tmp_path)
    assert "3 of 3 images" in error
    assert [message.partition(" (3 files)")[0] for _, message in ignored] == [
        f"ignored: {tmp_path / 'manual1'}/", f"ignored: {tmp_path / 'mask'}/",
    ]  # fmt: skip
    (tmp_path / "manual1").rename(tmp_path / "masks")
    assert [severity for severity, _ in findings(tmp_path)] == ["warning"]


def test_stare_in_its_own_layout_is_refused_with_what_is_there(tmp_path: Path) -> None:
    for name in ("stare-images/im0001.ppm.gz", "labels-ah/im0001.ah.ppm.gz"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"packed")
    with pytest.raises(DatasetError, match=r"holds no image.*labels-ah/ \(1 file\).*stare-images/ \(1 file\)"):
        readers.read(f"folder:{tmp_path}")
    (tmp_path / "stare-images").rename(tmp_path / "images")
    with pytest.raises(DatasetError, match=r"1 file in .*images/ \(\.gz\); unpack"):
        readers.read(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("parts", "names", "severity"),
    [
        (("training", "training"), ("Image_01L", "Image_02L"), "error"),
        (("training", "training"), ("Image_01L", "Image_01R"), "warning"),
        (("training", "test"), ("Image_01L", "Image_02L"), "error"),
        (("test", "test"), ("Image_01L", "Image_02L"), "warning"),
    ],
)
def test_one_picture_under_two_names_is_an_error_where_a_split_could_divide_it(
    tmp_path: Path, parts: tuple[str, str], names: tuple[str, str], severity: str
) -> None:
    chase.write(tmp_path / "training", ["Image_09L", "Image_10L"])
    for part, name, suffix in zip(parts, names, ("png", "tif"), strict=True):
        chase.draw(tmp_path / part / "images" / f"{name}.{suffix}", 77)  # other bytes, the same pixels
        chase.draw_labels(tmp_path / part / "masks" / f"{name}.png")
    [found] = findings(tmp_path)
    assert found[0] == severity
    assert f"{names[0]} and {names[1]}" in found[1]


def test_pictures_that_differ_in_one_level_or_in_shape_are_not_the_same(tmp_path: Path) -> None:
    chase.write(tmp_path, ["a", "b", "c"])
    image = images.read_image(tmp_path / "images" / "a.png")
    images.write_image(tmp_path / "images" / "b.png", image ^ (image == image.max()))
    images.write_image(tmp_path / "images" / "c.png", image.reshape(10, 12, 3))
    images.write_mask(tmp_path / "masks" / "c.png", image.reshape(10, 12, 3)[:, :, 0] > 200)
    assert findings(tmp_path) == []
