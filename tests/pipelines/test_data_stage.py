"""The data stage: one patient in one split, and the same checks as `segkit data check`."""

import shutil
from pathlib import Path

import pytest

from segkit.core.manifest import read_manifest
from tests.data import chase
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
    assert "Image_01L and Image_05L are the same picture" in capsys.readouterr().err
