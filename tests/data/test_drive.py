import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from segkit.core import images
from segkit.core.errors import DatasetError
from segkit.core.manifest import Source
from segkit.data import drive, readers

SIZE = (12, 10)


def _draw(path: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    if path.suffix == ".tif":
        images.write_image(path, rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    else:
        images.write_mask(path, rng.random(SIZE) < (0.9 if "mask" in path.name else 0.2))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Three training and two test images of 12x10 in DRIVE's form, written in no particular order."""
    root = tmp_path / "small"
    for number in (23, 21, 22):
        _draw(root / "training" / "images" / f"{number}_training.tif", number)
        _draw(root / "training" / "1st_manual" / f"{number}_manual1.gif", number)
        _draw(root / "training" / "mask" / f"{number}_training_mask.gif", number)
    for number in (2, 1):
        _draw(root / "test" / "images" / f"{number:02d}_test.tif", number)
        _draw(root / "test" / "mask" / f"{number:02d}_test_mask.gif", number)
    (root / drive.MARKER_NAME).write_text(json.dumps({"training": 3, "test": 2, "height": 12, "width": 10}))
    return root


def test_files_are_paired_by_number(small: Path) -> None:
    dataset = drive.read(small)
    assert [row.name for row in dataset.rows] == ["01_test", "02_test", "21_training", "22_training", "23_training"]
    for row in dataset.rows:
        number = row.name[:2]
        assert row.image.path.name.startswith(number)
        assert row.region is not None
        assert row.region.path.name.startswith(number)
        assert row.split == ("train" if row.name.endswith("training") else "test")
        assert (row.reference is not None) == (row.split == "train")
        assert row.reference is None or row.reference.path.name == f"{number}_manual1.gif"
        assert "observer2" not in row.labels


def test_older_copies_have_both_observers_for_test(small: Path) -> None:
    for number in (1, 2):
        _draw(small / "test" / "1st_manual" / f"{number:02d}_manual1.gif", number)
        _draw(small / "test" / "2nd_manual" / f"{number:02d}_manual2.gif", number)
    first = drive.read(small).rows[0]
    assert first.reference == Source(small / "test" / "1st_manual" / "01_manual1.gif")
    assert first.labels["observer2"] == Source(small / "test" / "2nd_manual" / "01_manual2.gif")


def test_the_folder_around_it_will_do(small: Path) -> None:
    assert readers.open_dataset(f"drive:{small.parent}").root == small


def test_parts_unpacked_into_folders_of_their_own_names_are_found(small: Path) -> None:
    (small / "training").rename(small / "inner")
    (small / "training").mkdir()
    (small / "inner").rename(small / "training" / "training")
    assert len(drive.read(small).rows) == 5


def test_the_digest_depends_on_contents_and_names_but_not_on_the_place(small: Path, tmp_path: Path) -> None:
    digest = drive.read(small).digest
    elsewhere = shutil.copytree(small, tmp_path / "far" / "away")
    assert drive.read(elsewhere).digest == digest
    (small / "training" / "images" / "Thumbs.db").write_text("unrelated")
    (small / "training" / "images" / "._21_training.tif").write_text("unrelated")
    assert drive.read(small).digest == digest
    label = small / "training" / "1st_manual" / "22_manual1.gif"
    label.write_bytes(label.read_bytes() + b"\0")
    assert drive.read(small).digest != digest


def test_a_folder_that_is_not_read_is_a_warning(small: Path) -> None:
    _draw(small / "test" / "manual" / "01_manual1.gif", 1)
    [found] = drive.read(small).findings
    assert found.severity == "warning"
    assert f"{small / 'test' / 'manual'}/ (1 file)" in found.message
    assert len(readers.open_dataset(f"drive:{small}").rows) == 5


def test_a_missing_label_is_named(small: Path) -> None:
    (small / "training" / "1st_manual" / "22_manual1.gif").unlink()
    with pytest.raises(DatasetError, match=r"22_manual1\.gif is missing, which belongs to 22_training\.tif"):
        readers.open_dataset(f"drive:{small}")


def test_an_extra_label_is_named(small: Path) -> None:
    _draw(small / "training" / "1st_manual" / "29_manual1.gif", 29)
    with pytest.raises(DatasetError, match=r"29_manual1\.gif belongs to no image"):
        readers.open_dataset(f"drive:{small}")


def test_a_missing_image_is_counted(small: Path) -> None:
    (small / "test" / "images" / "02_test.tif").unlink()
    with pytest.raises(DatasetError, match="holds 1 images, expected 2"):
        readers.open_dataset(f"drive:{small}")


def test_of_the_real_drive_the_missing_numbers_are_named(small: Path) -> None:
    (small / drive.MARKER_NAME).unlink()
    with pytest.raises(DatasetError, match=r"holds 3 images, expected 20 \(missing: 24, 25"):
        readers.open_dataset(f"drive:{small}")


def test_a_file_of_another_name_is_extra(small: Path) -> None:
    _draw(small / "training" / "images" / "21_training copy.tif", 1)
    with pytest.raises(DatasetError, match=r"21_training copy\.tif is extra: files here are called NN_training\.\*"):
        readers.open_dataset(f"drive:{small}")


def test_one_number_twice_is_an_error(small: Path) -> None:
    _draw(small / "training" / "images" / "021_training.tif", 1)
    with pytest.raises(DatasetError, match="have the same number"):
        readers.open_dataset(f"drive:{small}")


def test_all_that_is_missing_extra_or_damaged_is_reported_at_once(small: Path) -> None:
    training = small / "training"
    for path in ("1st_manual/21_manual1.gif", "1st_manual/22_manual1.gif", "mask/22_training_mask.gif"):
        (training / path).unlink()
    _draw(training / "1st_manual" / "29_manual1.gif", 29)
    images.write_mask(training / "1st_manual" / "23_manual1.gif", np.ones((5, 6), dtype=bool))
    (training / "mask" / "23_training_mask.gif").write_bytes(b"")
    (small / "test" / "images" / "01_test.tif").write_bytes(b"")
    messages = [finding.message for finding in readers.check(drive.read(small)).findings]
    names = [
        "21_manual1",
        "22_manual1",
        "29_manual1",
        "22_training_mask",
        "01_test.tif",
        "23_training_mask",
        "23_manual1",
    ]
    assert [next(name for name in names if name in message.split()[0]) for message in messages] == names


def test_a_part_of_the_data_set_hints_at_the_whole(small: Path) -> None:
    with pytest.raises(DatasetError, match=f"did you mean {small}"):
        drive.read(small / "training")
    with pytest.raises(DatasetError, match="does not exist"):
        drive.read(small / "nowhere")


def test_checking_tells_sizes_and_shares(small: Path) -> None:
    reports = readers.check(drive.read(small)).reports
    assert [(report.height, report.width) for report in reports] == [SIZE] * 5
    label = images.read_mask(small / "training" / "1st_manual" / "21_manual1.gif")
    fov = images.read_mask(small / "training" / "mask" / "21_training_mask.gif")
    assert reports[2].class_shares["vessel"] == pytest.approx((label & fov).sum() / fov.sum())
    assert reports[0].class_shares == {}


def test_checking_names_the_file_of_another_size(small: Path) -> None:
    images.write_mask(small / "training" / "1st_manual" / "22_manual1.gif", np.ones((5, 6), dtype=bool))
    with pytest.raises(DatasetError, match=r"22_manual1\.gif is 6x5 .*22_training\.tif 10x12"):
        readers.raise_first_error(readers.check(drive.read(small)).findings)
    images.write_image(small / "test" / "images" / "01_test.tif", np.zeros((4, 4, 3), dtype=np.uint8))
    with pytest.raises(DatasetError, match=r"01_test\.tif is 4x4 .*10x12"):
        readers.raise_first_error(readers.check(drive.read(small)).findings)


def test_checking_names_the_truncated_file(small: Path) -> None:
    path = small / "training" / "images" / "23_training.tif"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"23_training\.tif"):
        readers.raise_first_error(readers.check(drive.read(small)).findings)


@pytest.mark.parametrize("folder", ["1st_manual", "mask"])
def test_checking_refuses_an_empty_map(small: Path, folder: str) -> None:
    path = next((small / "training" / folder).iterdir())
    images.write_mask(path, np.zeros(SIZE, dtype=bool))
    with pytest.raises(DatasetError, match=f"{path.name} marks no pixel"):
        readers.raise_first_error(readers.check(drive.read(small)).findings)


def test_checking_refuses_a_field_of_view_in_place_of_a_label(small: Path) -> None:
    path = small / "training" / "1st_manual" / "22_manual1.gif"
    shutil.copy(small / "training" / "mask" / "22_training_mask.gif", path)
    with pytest.raises(DatasetError, match="is it a field-of-view mask"):
        readers.raise_first_error(readers.check(drive.read(small)).findings)


def test_a_damaged_marker_is_named(small: Path) -> None:
    (small / drive.MARKER_NAME).write_text('{"training": 3}')
    with pytest.raises(DatasetError, match=r"phantom\.json"):
        drive.read(small)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("drove:/x", "did you mean 'drive'"), ("/data/DRIVE", "READER:FOLDER"), ("drive:", "READER:FOLDER")],
)
def test_a_data_set_wrongly_named_is_explained(text: str, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        readers.open_dataset(text)


def test_a_plain_folder_is_paired_by_stem(tmp_path: Path) -> None:
    for stem in ("b", "a"):
        _draw(tmp_path / "images" / f"{stem}.tif", ord(stem))
        images.write_mask(tmp_path / "masks" / f"{stem}.png", np.eye(12, 10, dtype=bool))
    dataset = readers.open_dataset(f"folder:{tmp_path}")
    assert [(row.name, row.split) for row in dataset.rows] == [("a", "train"), ("b", "train")]
    assert dataset.rows[1].reference == Source(tmp_path / "masks" / "b.png")
    assert readers.check(dataset).reports[0].class_shares["vessel"] == pytest.approx(10 / 120)
    images.write_mask(tmp_path / "masks" / "d.png", np.eye(3, dtype=bool))
    with pytest.raises(DatasetError, match=r"d\.png"):
        readers.open_dataset(f"folder:{tmp_path}")


def test_the_real_drive_is_whole(drive_dir: Path) -> None:
    dataset = readers.open_dataset(f"drive:{drive_dir}")
    assert [row.name for row in dataset.rows if row.split == "train"] == [f"{n}_training" for n in range(21, 41)]
    assert [row.name for row in dataset.rows if row.split == "test"] == [f"{n:02d}_test" for n in range(1, 21)]
    assert not dataset.phantom
    reports = readers.check(dataset).reports
    assert {(report.height, report.width) for report in reports} == {(584, 565)}
    shares = [report.class_shares["vessel"] for report in reports if report.class_shares]
    assert 0.12 < np.mean(shares) < 0.13
