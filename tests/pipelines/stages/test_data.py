"""The data stage: one patient in one split, and the same checks as `segkit data check`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.core import images
from segkit.core.classes import VESSEL
from segkit.core.manifest import Row, Source, read_manifest
from segkit.data import labels, readers
from tests.data import chase
from tests.pipelines import tiny
from tests.pipelines.tiny import segkit_here


def data_stage(tmp_path: Path, *args: str, source: Path | None = None) -> tuple[int, list[Path]]:
    """Exit code and folders of the data stages after a run on `source`."""
    runs, data = tmp_path / "runs", source or tmp_path / "chase"
    command = ["pipeline", "run", "synthetic-aug", "--upto", "data", "--runs", str(runs), "--data", f"folder:{data}"]
    code = segkit_here(*command, "--set", "runtime.tracker=none", "--set", "gan.init_from=null", *args)
    return code, [done.parent for done in runs.glob("data-*/done.json")]


@pytest.mark.usefixtures("stages_here")
def test_both_eyes_of_a_child_are_in_one_split_and_the_manifest_names_the_child(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chase.write(tmp_path / "chase")
    code, [folder] = data_stage(tmp_path, "--set", "data.num_val=3", "--set", "data.num_holdout=5")
    assert code == 0
    assert "28 images of 14 patients, 18 train, 4 val, 6 holdout" in capsys.readouterr().out
    rows = read_manifest(folder).rows
    assert len({(chase.child(row.name), row.split) for row in rows}) == 14
    assert {row.group for row in rows} == {f"Image_{child:02d}" for child in range(1, 15)}


@pytest.mark.usefixtures("stages_here")
def test_other_patients_are_another_data_stage(tmp_path: Path) -> None:
    chase.write(tmp_path / "chase")
    data_stage(tmp_path)
    assert len(data_stage(tmp_path, "--set", "data.group_pattern=Image_(.)")[1]) == 1  # two patients are too few
    assert len(data_stage(tmp_path, "--set", "data.group_pattern=([0-9]+)")[1]) == 2
    (tmp_path / "chase" / "groups.csv").write_text("image,group\n" + "".join(f"{n},{n}\n" for n in chase.NAMES))
    assert len(data_stage(tmp_path)[1]) == 3


@pytest.mark.usefixtures("stages_here")
def test_what_the_check_calls_an_error_ends_the_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = chase.write(tmp_path / "chase") / "images"
    shutil.copy(images / "Image_01L.png", images / "Image_05L.png")
    assert data_stage(tmp_path) == (2, [])
    assert "Image_01L and Image_05L" in capsys.readouterr().err


def read(root: Path) -> readers.Dataset:
    """A reader of patients' folders: the pages of `*stack.tif` are the images of one patient."""
    base = readers.existing_folder(root)
    rows = tuple(
        Row(
            f"{stack.parent.name}-{page}",
            "train",
            Source(stack, page),
            {"reference": Source(stack.with_name(f"{stack.stem}-labels.tif"), page)},
            group=stack.parent.name,
        )
        for stack in sorted(base.glob("*/*stack.tif"))
        for page in range(3)
    )
    return readers.Dataset("stacks", base, rows, readers.digest(base, rows))


def check_row(dataset: readers.Dataset, row: Row) -> readers.RowReport:
    return readers.check_row(row, dataset.classes)


def write_stacks(root: Path, name: str) -> None:
    """Three patients of three pages each; `name` makes a patient's file names."""
    rng = np.random.default_rng(0)
    for patient in "abc":
        pages = [Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)) for _ in range(3)]
        maps = [Image.fromarray(np.where(rng.random((12, 10)) < 0.3, 255, 0).astype(np.uint8)) for _ in range(3)]
        stack = root / patient / f"{name.format(patient)}stack.tif"
        stack.parent.mkdir(parents=True)
        pages[0].save(stack, save_all=True, append_images=pages[1:])
        maps[0].save(stack.with_name(f"{stack.stem}-labels.tif"), save_all=True, append_images=maps[1:])


def stacks_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[Path]]:
    monkeypatch.setitem(readers.READERS, "stacks", __name__)
    changes = {"data.source": f"stacks:{tmp_path / 'stacks'}", "data.num_val": 1, "data.num_holdout": 1}
    config, runs = tiny.write_config(tmp_path / "tiny.yaml", changes), tmp_path / "runs"
    command = ["pipeline", "run", "synthetic-aug", "--upto", "data", "--runs", str(runs), "-c", str(config)]
    return segkit_here(*command), [done.parent for done in runs.glob("data-*/done.json")]


@pytest.mark.usefixtures("stages_here")
def test_the_pages_of_a_file_are_images_that_share_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stacks(tmp_path / "stacks", "{}-")
    code, [folder] = stacks_stage(tmp_path, monkeypatch)
    assert code == 0
    assert sorted(path.name for path in (folder / "images").iterdir()) == [f"{p}-stack.tif" for p in "abc"]
    rows, originals = read_manifest(folder).rows, read(tmp_path / "stacks").rows
    assert [(row.name, row.group) for row in rows] == [(f"{p}-{page}", p) for p in "abc" for page in range(3)]
    assert len({(row.group, row.split) for row in rows}) == 3
    for row, original in zip(rows, originals, strict=True):
        assert row.reference is not None
        assert original.reference is not None
        np.testing.assert_array_equal(images.read_image(*row.image), images.read_image(*original.image))
        ours, theirs = (labels.read_labels(source, VESSEL) for source in (row.reference, original.reference))
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("stages_here")
def test_files_of_one_name_in_several_folders_are_copied_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stacks(tmp_path / "stacks", "")
    code, [folder] = stacks_stage(tmp_path, monkeypatch)
    assert code == 0
    assert sorted(path.name for path in (folder / "images").iterdir()) == [f"{p}-stack.tif" for p in "abc"]
    for row, original in zip(read_manifest(folder).rows, read(tmp_path / "stacks").rows, strict=True):
        np.testing.assert_array_equal(images.read_image(*row.image), images.read_image(*original.image))
