"""Each reader on phantoms in its layout: pairs, patients, classes, parts, and everything that is wrong."""

import gzip
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segkit.cli.data import LAYOUTS
from segkit.core import images
from segkit.core.errors import DatasetError
from segkit.data import histology, isbi2012, labels, phantom_layouts, phantom_tissue, readers
from segkit.data.phantom_layouts import Request
from segkit.data.settings import DataSettings

SIZE = (52, 48)


def data(root: Path, layout: str, training: int = 8, test: int | None = None, **changes: object) -> str:
    """Draw a small phantom data set; how it is named."""
    number = (0 if layout in phantom_layouts.WITHOUT_TEST_PART else 2) if test is None else test
    phantom_layouts.write(root, Request(layout, training, number, *SIZE, **changes))  # type: ignore[arg-type]
    return phantom_layouts.name_of(root, layout)


def errors(text: str) -> list[str]:
    return [finding.message for finding in readers.check(readers.read(text)).findings if finding.severity == "error"]


def test_every_reader_has_phantoms() -> None:
    assert sorted(LAYOUTS) == sorted(readers.READERS) == sorted({*phantom_layouts.WRITERS, "drive"})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_phantoms_of_each_layout_have_no_findings_and_the_size_and_number_asked_for(
    tmp_path: Path, layout: str
) -> None:
    dataset = readers.open_dataset(data(tmp_path, layout))
    checked = readers.check(dataset)
    assert checked.findings == ()
    assert dataset.name == layout
    assert dataset.phantom
    assert {(report.height, report.width) for report in checked.reports} == {SIZE}
    parts = [readers.part_of(row) for row in dataset.rows]
    assert (parts.count("training"), parts.count("test")) == (8, 0 if layout in ("chase", "stare", "hrf") else 2)
    assert all(row.reference is not None for row in dataset.rows if row.split != "test")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_image_is_paired_with_its_own_labels_and_no_cut_divides_a_group(tmp_path: Path, layout: str) -> None:
    dataset = readers.open_dataset(data(tmp_path, layout))
    digits = re.compile(r"\d+")
    for row in dataset.rows:
        maps = [*row.labels.values(), *([row.region] if row.region else [])]
        if layout != "isbi2012":  # whose pages have no names
            numbers = {digits.findall(source.path.stem)[0] for source in (row.image, *maps)}
            assert len(numbers) == 1
        assert {source.frame for source in maps} <= {row.image.frame}
    for seed in range(20):
        settings = DataSettings(num_val=2, num_holdout=2, split_seed=seed)
        cut = settings.cut(dataset.training_groups, dataset.given_splits)
        assert set(cut) == set(dataset.training_groups)
        assert {"train", "val", "holdout"} == set(cut.values())
        by_group: dict[str, set[str]] = {}
        for name, split in cut.items():
            by_group.setdefault(dataset.training_groups[name], set()).add(split)
        assert {len(splits) for splits in by_group.values()} == {1}


def test_both_eyes_of_a_child_are_one_group_and_both_observers_are_read(tmp_path: Path) -> None:
    dataset = readers.open_dataset(data(tmp_path, "chase"))
    assert dataset.num_groups == 4
    assert {row.group for row in dataset.rows if row.name.startswith("Image_02")} == {"Image_02"}
    for row in dataset.rows:
        assert row.labels["reference"].path.name == f"{row.name}_1stHO.png"
        assert row.labels["observer2"].path.name == f"{row.name}_2ndHO.png"
        assert row.region is None


def test_the_estimated_field_of_view_of_a_phantom_covers_the_drawn_one(tmp_path: Path) -> None:
    with_map, without = (readers.open_dataset(data(tmp_path / name, name)) for name in ("hrf", "stare"))
    given, estimated = (
        np.mean([report.region_share for report in readers.check(dataset).reports]) for dataset in (with_map, without)
    )
    assert estimated == pytest.approx(given, abs=0.05)


def test_packed_files_of_stare_in_its_archives_folders_are_the_same_images(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    data(plain, "stare", 3)
    folders = {"ah": "labels-ah", "vk": "labels-vk"}
    for path in sorted(plain.glob("*.ppm")):
        kind = path.stem.partition(".")[2]
        target = packed / folders.get(kind, "stare-images") / f"{path.name}.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(path.read_bytes()))
    ours, theirs = (readers.open_dataset(f"stare:{root}") for root in (packed, plain))
    assert [row.name for row in ours.rows] == ["im0001", "im0002", "im0003"]
    assert [r.pixels_sha256 for r in readers.check(ours).reports] == [
        r.pixels_sha256 for r in readers.check(theirs).reports
    ]
    assert [r.class_shares for r in readers.check(ours).reports] == [
        r.class_shares for r in readers.check(theirs).reports
    ]
    broken = next(packed.glob("stare-images/*"))
    broken.write_bytes(broken.read_bytes()[:200])
    [message] = errors(f"stare:{packed}")
    assert str(broken) in message


def test_one_number_in_three_diseases_is_three_patients_of_hrf(tmp_path: Path) -> None:
    dataset = readers.open_dataset(data(tmp_path, "hrf", 6))
    assert sorted(row.group for row in dataset.rows) == ["01_dr", "01_g", "01_h", "02_dr", "02_g", "02_h"]


def test_the_positive_class_of_em_sections_is_the_interior_and_all_pixels_count(tmp_path: Path) -> None:
    dataset = readers.open_dataset(data(tmp_path, "isbi2012", 3, 2))
    assert (dataset.classes.names, dataset.classes.field_of_view) == (("interior",), False)
    assert [row.name for row in dataset.rows] == ["test-00", "test-01", "train-00", "train-01", "train-02"]
    row = dataset.rows[3]
    image, interior = phantom_tissue.draw_section(0, 1, *SIZE)
    assert row.reference is not None
    np.testing.assert_array_equal(images.read_image(*row.image)[:, :, 0], image)
    np.testing.assert_array_equal(labels.read_labels(row.reference, dataset.classes), interior)
    assert readers.check(dataset).reports[3].class_shares == {"interior": pytest.approx(interior.mean())}


@pytest.mark.parametrize(("image", "label"), [("train/image", "train/label"), ("train_img", "train_label")])
def test_folders_of_em_slices_are_the_same_as_a_volume(tmp_path: Path, image: str, label: str) -> None:
    volume = readers.open_dataset(data(tmp_path / "volume", "isbi2012", 11, 0))
    for page, row in enumerate(volume.rows):
        assert row.reference is not None
        images.write_image(tmp_path / "slices" / image / f"{page}.png", images.read_image(*row.image)[:, :, 0])
        images.write_mask(tmp_path / "slices" / label / f"{page}.png", images.read_mask(*row.reference))
    slices = readers.open_dataset(f"isbi2012:{tmp_path / 'slices'}")
    assert [row.name for row in slices.rows] == [row.name for row in volume.rows]
    ours, theirs = (readers.check(dataset).reports for dataset in (slices, volume))
    assert ours == theirs


def test_a_volume_with_too_few_labelled_pages_is_an_error(tmp_path: Path) -> None:
    text = data(tmp_path, "isbi2012", 4, 0)
    path = tmp_path / "train-labels.tif"
    pages = np.stack([images.read_indices(path, page) for page in range(3)])
    images.write_pages(path, pages)
    assert any("4 pages" in message and "train-labels.tif 3" in message for message in errors(text))


def test_the_articles_validation_part_is_kept_and_joins_the_folds(tmp_path: Path) -> None:
    dataset = readers.open_dataset(data(tmp_path, "drive-article", 10, 2))
    assert dataset.name == "drive-article"
    valid = {path.stem for path in (tmp_path / "valid_images").iterdir()}
    assert len(valid) == 2
    cut = DataSettings(num_val=5, num_holdout=1).cut(dataset.training_groups, dataset.given_splits)
    assert {name for name, split in cut.items() if split == "val"} == valid
    assert list(cut.values()).count("holdout") == 1
    folds = [
        DataSettings(num_folds=5, fold=fold, num_holdout=0).cut(dataset.training_groups, dataset.given_splits)
        for fold in range(5)
    ]
    validated = [name for cut in folds for name, split in cut.items() if split == "val"]
    assert sorted(validated) == sorted(dataset.training_groups)


def test_patches_of_a_slide_are_one_group_and_their_colours_are_classes(tmp_path: Path) -> None:
    dataset = readers.open_dataset(data(tmp_path, "histology", 4, 2))
    assert {row.group for row in dataset.rows} == {"slide00", "slide01", "slide1000"}
    assert dataset.classes == histology.CLASSES
    row = next(row for row in dataset.rows if row.name == "slide01_0001")
    assert row.reference is not None
    _, drawn = phantom_tissue.draw_patch(1, 1, *SIZE)
    np.testing.assert_array_equal(labels.read_labels(row.reference, dataset.classes), drawn)


@pytest.mark.parametrize(
    ("name", "slide"),
    [
        ("S1_0003", "S1"), ("W-18-0062_12_40", "W-18-0062"), ("17_3", "17"), ("a_b_x100_y20", "a_b"), ("one", "one"),
    ],
)  # fmt: skip
def test_the_slide_is_the_name_without_the_patchs_number_or_place(name: str, slide: str) -> None:
    assert histology.slide(name) == slide


def test_a_colour_that_is_no_class_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    text = data(tmp_path, "histology", 4, 0)
    path = next((tmp_path / "training" / "masks").iterdir())
    colors = images.read_image(path)
    colors[3, 4] = (9, 8, 7)
    images.write_image(path, colors)
    [message] = errors(text)
    assert str(path) in message
    assert "[9, 8, 7]" in message


def test_gray_levels_and_palettes_code_classes_too(tmp_path: Path) -> None:
    text = data(tmp_path, "histology", 4, 0)
    dataset = readers.open_dataset(text)
    expected = [report.class_shares for report in readers.check(dataset).reports]
    levels = [0, 80, 160, 240]
    (tmp_path / "classes.yaml").write_text(
        f"kind: multiclass\nnames: [a, b, c, d]\ncolors: {[[level] * 3 for level in levels]}\n"
    )
    indices = {}
    for row in dataset.rows:
        assert row.reference is not None
        indices[row.reference.path] = labels.read_labels(row.reference, dataset.classes)
        images.write_image(row.reference.path, np.array(levels, np.uint8)[indices[row.reference.path]])
    gray = readers.open_dataset(text)
    assert not gray.classes.field_of_view
    assert [list(r.class_shares.values()) for r in readers.check(gray).reports] == [list(e.values()) for e in expected]
    (tmp_path / "classes.yaml").unlink()
    for path, values in indices.items():
        images.write_indices(path, values, histology.CLASSES.palette)
    assert [report.class_shares for report in readers.check(readers.open_dataset(text)).reports] == expected


@pytest.mark.parametrize("layout", ["folder", "csv"])
def test_a_folder_and_a_table_may_have_several_classes(tmp_path: Path, layout: str) -> None:
    dataset = readers.open_dataset(data(tmp_path, layout, 4, 1, classes="multiclass"))
    assert dataset.classes.names == ("background", "vessel", "disc")
    for report in readers.check(dataset).reports:
        assert sum(report.class_shares.values()) == pytest.approx(1)


def test_a_table_gives_parts_and_patients_and_its_digest_moves_with_it(tmp_path: Path) -> None:
    text = data(tmp_path / "one", "csv", 6, 2)
    dataset = readers.open_dataset(text)
    assert [row.split for row in dataset.rows] == ["val"] + ["train"] * 5 + ["test"] * 2
    assert dataset.rows[0].group == "patient1"
    shutil.move(tmp_path / "one", tmp_path / "two")
    assert readers.open_dataset(f"csv:{tmp_path / 'two' / 'pairs.csv'}").digest == dataset.digest
    table = tmp_path / "two" / "pairs.csv"
    table.write_text(table.read_text().replace("patient2", "patient1"))
    [message] = errors(f"csv:{table}")
    assert "patient patient1 has training and validation images (02, 01)" in message


def test_everything_wrong_in_a_table_is_reported_with_its_line(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    data(tmp_path, "csv", 6, 2)
    lines = table.read_text().splitlines()
    lines[1] = lines[1].replace("01.png", "99.png")
    lines[2] = lines[2].replace(",train", ",training-set")
    lines[3] = "photographs/03.png,,patient3,train"
    lines.append(lines[4])
    table.write_text("\n".join(lines))
    messages = errors(f"csv:{table}")
    assert [re.findall(r"line (\d+)", message) for message in messages] == [["2"], ["2"], ["3"], ["4"], ["10"]]
    table.write_text("picture,label\na,b\n")
    with pytest.raises(DatasetError, match=r"columns picture, label; expected image and label"):
        readers.read(f"csv:{table}")


def remove(path: Path) -> None:
    path.unlink()


def shrink(path: Path) -> None:
    images.write_mask(path, np.ones((9, 7), bool))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [remove, shrink, empty], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize(
    ("layout", "pattern"),
    [
        ("chase", "*_1stHO.png"),
        ("stare", "*.ah.ppm"),
        ("hrf", "manual1/*.tif"),
        ("hrf", "mask/*.tif"),
        ("drive-article", "train_masks/*.gif"),
        ("histology", "training/masks/*.png"),
        ("folder", "training/masks/*.png"),
        ("csv", "maps/03.png"),
    ],
)
def test_a_label_map_that_is_missing_of_another_size_or_empty_is_named(
    tmp_path: Path, layout: str, pattern: str, damage: Callable[[Path], None]
) -> None:
    text = data(tmp_path, layout, 6)
    path = sorted(tmp_path.glob(pattern))[0]
    damage(path)
    messages = errors(text)
    assert len(messages) == 1
    number = re.findall(r"\d+", path.stem)[0]
    assert number in messages[0]


@pytest.mark.parametrize(("layout", "pattern"), [("chase", "*R.jpg"), ("stare", "im000?.ppm"), ("hrf", "images/*")])
def test_a_copied_image_that_a_split_could_divide_from_its_original_is_an_error(
    tmp_path: Path, layout: str, pattern: str
) -> None:
    text = data(tmp_path, layout, 6)
    first, second, *_ = sorted(tmp_path.glob(pattern))
    shutil.copy(first, second)
    [message] = errors(text)
    assert all(readers.stem(path) in message for path in (first, second))


def test_two_files_of_one_image_and_maps_without_an_image_are_errors(tmp_path: Path) -> None:
    text = data(tmp_path, "chase", 4)
    shutil.copy(tmp_path / "Image_01L.jpg", tmp_path / "image_01l.png")
    (tmp_path / "Image_02R.jpg").unlink()
    messages = errors(text)
    assert len(messages) == 3  # both observers' maps of 02R, and one image twice
    assert sum("Image_02R" in message for message in messages) == 2


def test_a_resized_or_incomplete_copy_of_a_public_data_set_is_a_warning(tmp_path: Path) -> None:
    text = data(tmp_path, "hrf", 6)
    (tmp_path / readers.PHANTOM_MARKER).unlink()
    findings = readers.check(readers.open_dataset(text)).findings
    assert [finding.severity for finding in findings] == ["warning", "warning"]
    assert "6 labelled images; the published data set has 45" in findings[0].message
    assert "48x52, not 3504x2336" in findings[1].message


def test_files_of_other_names_are_a_warning_and_no_images_an_error(tmp_path: Path) -> None:
    text = data(tmp_path, "stare", 2)
    images.write_mask(tmp_path / "notes.png", np.ones(SIZE, bool))
    [finding] = readers.check(readers.open_dataset(text)).findings
    assert (finding.severity, "notes.png" in finding.message) == ("warning", True)
    (tmp_path / "other").mkdir()
    for name in ("chase", "stare", "hrf", "isbi2012", "drive-article", "histology"):
        with pytest.raises(DatasetError, match="holds no image"):
            readers.read(f"{name}:{tmp_path / 'other'}")


def test_another_reader_of_the_same_files_is_another_data_set(tmp_path: Path) -> None:
    data(tmp_path, "histology", 4, 0)
    assert isbi2012.CLASSES.num_channels == 1
    with pytest.raises(DatasetError):
        readers.open_dataset(f"isbi2012:{tmp_path}")
    assert readers.read(f"histology:{tmp_path}").digest != readers.read(f"folder:{tmp_path}").digest


def test_the_real_em_slices_are_whole(em_dir: Path) -> None:
    dataset = readers.open_dataset(f"isbi2012:{em_dir}")
    reports = readers.check(dataset).reports
    assert [row.name for row in dataset.rows] == [f"train-{number:02d}" for number in range(25)]
    assert {(report.height, report.width, report.region_share) for report in reports} == {(512, 512, None)}
    assert min(report.class_shares["interior"] for report in reports) > 0.72
