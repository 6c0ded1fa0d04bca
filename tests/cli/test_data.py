"""`segkit data`."""

import shutil
from pathlib import Path

import pytest

from segkit.data.readers import open_dataset, part_of
from tests.data import chase
from tests.pipelines.tiny import files_below, segkit_here

SMALL = ("--train", "2", "--test", "1", "--height", "48", "--width", "52")


def test_phantoms_are_drawn_and_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "phantoms"
    assert segkit_here("data", "phantom", "--out", str(out), *SMALL) == 0
    assert capsys.readouterr().out == (f"2 training and 1 test phantoms of 52x48 in {out}; use as drive:{out}\n")
    assert [part_of(row) for row in open_dataset(f"drive:{out}").rows] == ["test", "training", "training"]
    assert len(files_below(out)) == 3 * 3 + 1


def test_the_same_phantoms_are_not_drawn_twice_and_others_not_over_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "phantom", "--out", str(tmp_path), *SMALL]
    assert segkit_here(*command) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert segkit_here(*command) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("already drawn: 2 training")
    for other in (["--seed", "1"], ["--train", "3"], ["--no-test-labels"]):
        assert segkit_here(*command, *other) == 2
        assert "holds other phantoms; give another --out, or delete it" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_real_data_set_is_not_drawn_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "training").mkdir()
    assert segkit_here("data", "phantom", "--out", str(tmp_path), *SMALL) == 2
    assert "not a phantom" in capsys.readouterr().err


def test_check_shows_every_image_and_the_digest(phantoms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("data", "check", f"drive:{phantoms}") == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [
        ["01_test", "test", "52x48"], ["02_test", "test", "52x48"], ["21_training", "training", "52x48"],
    ]  # fmt: skip
    digest = open_dataset(f"drive:{phantoms}").digest
    assert last == f"drive: 8 images, 8 labelled, all files readable; digest {digest}"


def test_check_prints_patients_where_they_have_several_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chase.write(tmp_path)
    assert segkit_here("data", "check", f"folder:{tmp_path}") == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[5].startswith("Image_03R")
    assert lines[5].endswith("patient Image_03")
    assert last.startswith("folder: 28 images of 14 patients, 28 labelled, all files readable; digest ")
    assert segkit_here("data", "check", f"folder:{tmp_path}", "--group-pattern", "(.)$") == 0
    assert "28 images of 2 patients" in capsys.readouterr().out


def test_check_prints_all_problems_and_warnings_alone_do_not_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chase.write(tmp_path)
    chase.draw_labels(tmp_path / "manual1" / "Image_01L.png")
    assert segkit_here("data", "check", f"folder:{tmp_path}") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["warning"]
    (tmp_path / "masks" / "Image_02L.png").unlink()
    (tmp_path / "images" / "Image_07L.png").write_bytes(b"no image")
    assert segkit_here("data", "check", f"folder:{tmp_path}") == 2
    ended = capsys.readouterr()
    assert [line.split(":")[0] for line in ended.err.splitlines()] == ["error", "error", "warning", "error"]
    assert "has 2 problems" in ended.err
    assert ended.out.splitlines()[-1] == "folder: 28 images of 14 patients, 27 labelled"


def test_check_names_what_is_wrong(phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(phantoms, tmp_path / "DRIVE")
    path = root / "test" / "images" / "02_test.tif"
    path.write_bytes(path.read_bytes()[:500])
    assert segkit_here("data", "check", f"drive:{root}") == 2
    assert f"error: {path} is truncated or damaged" in capsys.readouterr().err
