"""What is wrong is said in one line, with the right exit code, and nothing half made counts as done."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipelines.recipes import RECIPES
from segkit.core import images
from segkit.core.run_folder import DONE
from tests.end_to_end import kill_test
from tests.pipelines.tiny import segkit_here, write_config

Complain = Callable[..., str]


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path, stages_here: None) -> Complain:
    """The words with which a `pipeline run` on the tiny settings ends, its exit code being the one expected."""

    def run(*args: str, code: int = 2, config: Path = config, runs: Path = tmp_path / "runs") -> str:
        capsys.readouterr()
        ended = segkit_here("pipeline", "run", "synthetic-aug", "-c", str(config), "--runs", str(runs), *args)
        words = capsys.readouterr().err
        assert ended == code, words
        assert "Traceback" not in words
        assert "fault of segkit" not in words
        assert 1 <= len(words.splitlines()) <= 2
        return words

    return run


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gan.kmg": 3}, "tiny.yaml: unknown key 'gan.kmg' (value 3); did you mean 'kimg'?"),
        ({"techer": {}}, "unknown key 'techer' (value {}); did you mean 'teacher'?"),
        ({"teacher.phases": [{"epoch": 1}]}, "unknown key 'teacher.phases.0.epoch' (value 1); did you mean 'epochs'?"),
        ({"samples.truncation_psi": 7}, "samples.truncation_psi = 7: input should be less than or equal to 2"),
        (
            {"teacher.loss": "bcee"},
            "teacher.loss = 'bcee': input should be ",
        ),
        ({"data.num_val": "many"}, "data.num_val = 'many': input should be a valid integer"),
        ({"students": {}}, "students = {}"),
        ({"runtime.devices": 0}, "runtime.devices"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_started(
    complaint: Complain, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    assert words in complaint(config=write_config(tmp_path / "tiny.yaml", changes))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--set", "gan.kmg=3"], "with --set gan.kmg=3: unknown key 'gan.kmg' (value 3); did you mean 'kimg'?"),
        (["--set", "gan.kimg=-1"], "gan.kimg = -1: input should be greater than 0"),
        (["--set", "gan.kimg"], "--set 'gan.kimg' is not of the form section.key=value"),
        (["--set", "students.mixed.phases.7.epochs=1"], "students.mixed.phases has no item '7'; its items are 0 to 1"),
        (["--set", "students.mixd.loss=bce"], "students has no 'mixd'; did you mean 'mixed'?"),
        (["--upto", "techer"], "there is no stage 'techer'; did you mean 'teacher'?"),
        (["--data", "nope"], "a data set is named READER:FOLDER, as in drive:/data/DRIVE, not 'nope'"),
        (["--data", "drvie:x"], "no data set reader is called 'drvie'; did you mean 'drive'?"),
        (["--data", "drive:no/where"], "no/where does not exist; give the folder that holds the data set"),
        (["--dat", "x"], "No such option '--dat'"),
        (["--set", "gan.init_from=no.pkl"], "gan.init_from = no.pkl does not exist; train from scratch"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_started(
    complaint: Complain, tmp_path: Path, args: list[str], words: str
) -> None:
    assert words in complaint(*args)
    assert not (tmp_path / "runs").exists()


def test_a_settings_file_that_is_not_there_or_not_yaml_is_named(complaint: Complain, tmp_path: Path) -> None:
    assert "cannot read settings file" in complaint(config=tmp_path / "nope.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("data: [1\n")
    assert "broken.yaml, line 2, column 1: not valid YAML" in complaint(config=broken)


def test_without_a_data_set_the_message_says_how_to_name_one(complaint: Complain, tmp_path: Path) -> None:
    config = write_config(tmp_path / "none.yaml", {"data.source": None})
    assert "no data set given; use --data NAME:DIR" in complaint(config=config)


def test_an_unknown_recipe_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("pipeline", "run", "xyz") == 2
    error = capsys.readouterr().err
    assert all(name in error for name in RECIPES)
    assert segkit_here("pipeline", "run", "synthetic-agu") == 2
    assert "did you mean 'synthetic-aug'?" in capsys.readouterr().err


def test_settings_in_place_of_a_recipe_are_answered_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("pipeline", "show", "paper-grid") == 2
    assert "segkit pipeline run repeat -c paper-grid" in capsys.readouterr().err


# Damage to a data set: each takes the folder of a copy, and the words are what the message holds.


def truncate_tiff(root: Path) -> str:
    path = root / "training" / "images" / "22_training.tif"
    path.write_bytes(path.read_bytes()[:1000])
    return f"{path} is truncated or damaged"


def text_for_image(root: Path) -> str:
    path = root / "training" / "images" / "22_training.tif"
    path.unlink()
    path = path.with_suffix(".png")
    path.write_text("not a picture")
    return f"{path} is not a TIFF, GIF, PNG, JPEG, PPM, WebP or BMP image, whatever its name says"


def label_of_another_size(root: Path) -> str:
    path = root / "training" / "1st_manual" / "22_manual1.gif"
    images.write_mask(path, images.read_mask(path)[:-1])
    return f"{path} is 52x47 pixels, its image 22_training.tif 52x48"


def extra_image(root: Path) -> str:
    shutil.copy(root / "training/images/22_training.tif", root / "training/images/99_training.tif")
    return f"{root / 'training' / 'images'} holds 7 images, expected 6; remove the extra files"


def missing_image(root: Path) -> str:
    (root / "training/images/22_training.tif").unlink()
    return f"{root / 'training' / 'images'} holds 5 images, expected 6; copy the missing files"


def missing_label(root: Path) -> str:
    path = root / "training" / "1st_manual" / "22_manual1.gif"
    path.unlink()
    return f"{path} is missing, which belongs to 22_training.tif; copy it there"


def empty_file(root: Path) -> str:
    path = root / "test" / "mask" / "01_test_mask.gif"
    path.write_bytes(b"")
    return f"{path} is empty (0 bytes); copy it again"


def image_of_another_size(root: Path) -> str:
    path = root / "training" / "images" / "22_training.tif"
    images.write_image(path, np.zeros((48, 40, 3), np.uint8))
    return f"{path} is 40x48 pixels, expected 52x48"


@pytest.mark.parametrize(
    "damage",
    [
        truncate_tiff,
        text_for_image,
        label_of_another_size,
        extra_image,
        missing_image,
        missing_label,
        empty_file,
        image_of_another_size,
    ],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_data_set_is_refused_and_the_whole_one_taken(
    complaint: Complain,
    phantoms: Path,
    tmp_path: Path,
    damage: Callable[[Path], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = shutil.copytree(phantoms, tmp_path / "DRIVE").resolve()
    words = damage(root)
    first = complaint("--data", f"drive:{root}", "--upto", "data").splitlines()[0]
    assert first.startswith(f"error: {words}")
    assert not list(tmp_path.glob(f"runs/*/{DONE}"))
    shutil.rmtree(root)
    shutil.copytree(phantoms, root)
    runs = tmp_path / "runs"
    again = ["-c", str(tmp_path / "tiny.yaml"), "--runs", str(runs), "--data", f"drive:{root}", "--upto", "data"]
    assert segkit_here("pipeline", "run", "synthetic-aug", *again) == 0
    assert len(list(runs.glob(f"*/{DONE}"))) == 1


def test_a_runs_folder_that_is_a_file_is_refused(complaint: Complain, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file'}" in complaint(runs=tmp_path / "file", code=1)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder.mkdir()
    if os.geteuid() != 0 or mount("-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)) != 0:
        pytest.skip("only root may mount, and not everywhere")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def mount(*arguments: str) -> int:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 1


def test_a_runs_folder_that_cannot_be_written_is_refused(complaint: Complain, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        assert mount("-o", "remount,ro", str(disk)) == 0
        words = complaint(runs=disk / "runs", code=1)
        assert words.startswith(f"error: {disk}/runs")
        assert words.endswith("read-only file system; choose another folder, or change who may write there\n")


@pytest.mark.slow
def test_a_full_disk_ends_any_stage_and_once_there_is_room_the_same_command_goes_on(
    complaint: Complain, finished_runs: Path, tmp_path: Path, config: Path
) -> None:
    whole_kb = sum(4 * -(-path.stat().st_size // 4096) for path in finished_runs.rglob("*") if path.is_file())
    stopped = []
    with mounted(tmp_path / "disk", "size=4k") as disk:
        for share in (0.01, 0.15, 0.37, 0.6):
            assert mount("-o", f"remount,size={max(8, round(share * whole_kb))}k", str(disk)) == 0
            words = complaint(runs=disk / "runs", code=1)
            assert "no space left on the disk" in words or "No space left on device; free some" in words
            stopped += [line.split()[2] for line in words.splitlines() if line.startswith("error: stage ")]
        assert mount("-o", "remount,size=16m", str(disk)) == 0
        again = ["-c", str(config), "--runs", str(disk / "runs")]
        assert segkit_here("pipeline", "run", "synthetic-aug", *again) == 0
        assert kill_test.differences(finished_runs, disk / "runs") == []
    assert len(set(stopped)) > 2  # different stages have met the end of the disk
