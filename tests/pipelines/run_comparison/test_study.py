"""`segkit runs study`: trials in one file, with paired tests between them."""

import csv
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from pipelines.run_comparison.finished import read_run
from pipelines.run_comparison.study import compare_rows, read_study, study_row, study_table, with_rows
from segkit.core.errors import RequestError
from segkit.metrics.measure import image_values
from tests.pipelines.finished_runs import THRESHOLD, scores, write_run
from tests.pipelines.tiny import segkit_here


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two trials on held-out images, the second one better."""
    return [
        write_run(tmp_path / "runs", scores(noise, minute), split="holdout", minute=minute, seed=minute)
        for minute, noise in enumerate([0.5, 0.3])
    ]


def test_a_row_has_settings_scores_and_the_dice_of_each_image(folders: list[Path]) -> None:
    run = read_run(folders[1])
    row = study_row(run)
    assert json.loads(row["settings"])["runtime.seed"] == 1
    expected = image_values(scores(0.3, 1), "dice", "fov", THRESHOLD)
    assert list(json.loads(row["dice_by_image"]).values()) == pytest.approx(expected, abs=1e-6)
    assert (row["split"], row["n"]) == ("holdout", "8")
    assert float(row["dice_low"]) < float(row["dice"]) < float(row["dice_high"])


def test_the_paired_test_is_that_of_all_sign_flips(folders: list[Path]) -> None:
    worse, better = (study_row(read_run(folder)) for folder in folders)
    difference, p = compare_rows(better, worse)
    a, b = (np.array(list(json.loads(row["dice_by_image"]).values())) for row in (better, worse))
    assert difference.difference == pytest.approx((a - b).mean())
    assert difference.low > 0
    flipped = [abs(np.mean(np.array(signs) * (a - b))) for signs in product([1, -1], repeat=8)]
    assert p == pytest.approx(np.mean(np.array(flipped) >= abs((a - b).mean()) - 1e-12))
    one_patient = {"patients": json.dumps(dict.fromkeys(json.loads(better["dice_by_image"]), "one"))}
    assert compare_rows(better | one_patient, worse)[1] == 1


def test_the_command_adds_rows_once_and_prints_them(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.csv"
    for added in (folders[:1], folders, []):
        names = [str(folder) for folder in added]
        assert segkit_here("runs", "study", *names, "--file", str(path), "--runs", str(tmp_path / "runs")) == 0
    rows = read_study(path)
    assert [row["run"] for row in rows] == [read_run(folder).fingerprint[:12] for folder in folders]
    shown = capsys.readouterr().out
    assert "baseline" in shown
    assert "runtime.seed=1" in shown
    with path.open(newline="") as file:
        assert len(list(csv.reader(file))) == 3
    first, second = study_table(rows, baseline=rows[1]["run"][:8]).rows
    assert first["Difference in mean Dice"].startswith("−")
    assert (second["Difference in mean Dice"], first["p"]) == ("baseline", first["Holm's p"])
    assert with_rows(rows, rows[:1]) == rows


def test_test_images_other_files_and_other_images_are_not_compared(folders: list[Path], tmp_path: Path) -> None:
    tested = write_run(tmp_path / "runs", scores(0.4, 5), split="test", minute=5)
    with pytest.raises(RequestError):
        study_row(read_run(tested))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert segkit_here("runs", "study", str(folders[0]), "--file", str(tmp_path / "other.csv")) == 2
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"
    assert segkit_here("runs", "study", "--file", str(tmp_path / "none.csv")) == 2
    fewer = write_run(tmp_path / "runs", scores(0.4, 6, num_images=6), split="holdout", minute=6)
    table = study_table([study_row(read_run(folder)) for folder in (folders[0], fewer)])
    assert table.rows[1]["Difference in mean Dice"] == "other images"


def test_a_study_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "study.csv").read_text(encoding="utf-8")
    path = tmp_path / "study.csv"
    path.write_text(text)
    assert len(read_study(path)) == text.count("\n") - 1
    path.write_text(text[:700])
    with pytest.raises(RequestError, match="row 1 is damaged"):
        read_study(path)
