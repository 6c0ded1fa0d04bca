"""The stage `fidelity`, on a GAN that copies and on one that does not."""

import csv
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.execution.runner import StageFailedError
from pipelines.fidelity import files
from pipelines.fidelity.photographs import of_data_stage
from segkit.core import images
from segkit.tasks import tracking
from segkit.tasks.tracking import Tracker
from tests.pipelines.tiny import files_below, plan, run_here, write_config

pytestmark = pytest.mark.slow

LIMIT = "fidelity.max_copy_share=0.2"


@pytest.fixture
def runs(finished_runs: Path, tmp_path: Path) -> Path:
    """A copy of the finished runs that a test may change."""
    return shutil.copytree(finished_runs, tmp_path / "runs", copy_function=shutil.copy2)


@pytest.fixture
def copying(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GAN that generates its training photographs, mirrored."""
    from pipelines.fidelity import features

    def generate(generator: Any, seed: int, *_: Any) -> np.ndarray:
        training = of_data_stage(next(runs.glob("data-*"))).training
        from gan.checkpoints.weights import read_settings

        square = features.read_square(training[seed % len(training)], read_settings(next(runs.glob("gan-*"))))
        return np.ascontiguousarray(square[:, ::-1])

    monkeypatch.setattr(features, "generate", generate)


def numbers(runs: Path) -> Any:
    [folder] = runs.glob("fidelity-*")
    return json.loads((folder / files.NUMBERS).read_text())


def test_the_numbers_of_drawn_images_of_samples_and_of_held_out_photographs_are_written(finished_runs: Path) -> None:
    record = numbers(finished_runs)
    assert {name: images["n"] for name, images in record["sets"].items()} == {"heldout": 4, "drawn": 5, "samples": 4}
    assert (record["reference"], record["num_real"], record["num_real_groups"]) == ("phantom_train", 4, 4)
    assert (record["features"], record["note"]) == ("teacher", "")
    assert record["sets"]["samples"]["title"] == "samples, psi 0.7"
    assert record["sets"]["drawn"]["num_copies"] == 0
    [folder] = finished_runs.glob("fidelity-*")
    assert "drawn/kid5_phantom_train4_teacher" in (folder / files.TABLE).read_text()


def test_the_picture_shows_as_many_pairs_as_were_asked_for(finished_runs: Path, tmp_path: Path) -> None:
    [folder] = finished_runs.glob("fidelity-*")
    height, width = images.read_size(folder / files.SHEET)
    assert (height, width) == (3 * (26 + 192 + 34), 4 * (2 * 192 + 12))


def test_the_tracker_is_given_every_number_under_its_key_and_the_picture(
    runs: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remembers(Tracker):
        summaries: dict[str, Any] = {}  # noqa: RUF012
        pictures: dict[str, Any] = {}  # noqa: RUF012

        def summary(self, values: Mapping[str, Any]) -> None:
            self.summaries.update(values)

        def images(self, key: str, pictures: Mapping[str, Any]) -> None:
            self.pictures[key] = pictures

    monkeypatch.setattr(tracking, "open_tracker", lambda *_: Remembers())
    shutil.rmtree(next(runs.glob("fidelity-*")))
    run_here(config, runs, upto="fidelity")
    [folder] = runs.glob("fidelity-*")
    expected = {}
    for row in csv.DictReader(io.StringIO((folder / files.TABLE).read_text())):
        numbers = {"": row["value"], "_low": row["low"], "_high": row["high"]}
        expected |= {row["key"] + end: float(number) for end, number in numbers.items() if number}
    assert Remembers.summaries == expected
    assert {key.split("/")[0] for key in Remembers.summaries} == {"heldout", "drawn", "samples"}
    [shown] = Remembers.pictures["gan/nearest-photographs"].values()
    assert np.array_equal(shown, images.read_image(folder / files.SHEET))


def test_a_gan_that_copies_is_found_out_and_only_reported_where_nobody_asked_for_more(
    runs: Path, config: Path, copying: None
) -> None:
    shutil.rmtree(next(runs.glob("fidelity-*")))
    run_here(config, runs, upto="fidelity")
    drawn = numbers(runs)["sets"]["drawn"]
    assert (drawn["num_copies"], drawn["numbers"]["copy_share"]["value"]) == (5, 1.0)
    assert drawn["numbers"]["precision"]["value"] == 1
    assert drawn["numbers"]["fid"]["value"] < 1
    [folder] = runs.glob("fidelity-*")
    rows = csv.DictReader(io.StringIO((folder / files.NEAREST).read_text()))
    assert [row["image"] for row in rows if row["set"] == "drawn" and row["copy"] == "1"] == [
        f"seed{n:04d}" for n in range(5)
    ]


def test_more_copies_than_allowed_stop_the_pipeline_before_anything_is_labelled(
    runs: Path, config: Path, copying: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("fidelity", "pseudo-labels", "mixed", "report"):
        shutil.rmtree(next(runs.glob(f"{stage}-*")))
    with pytest.raises(StageFailedError, match="fidelity"):
        run_here(config, runs, LIMIT, upto="mixed")
    said = capsys.readouterr().err
    assert "5 of 5 (drawn, psi 1), 100.0 %; 20 % are allowed" in said
    [folder] = runs.glob("fidelity-*")
    assert f"see {folder / files.SHEET}" in said
    assert files_below(folder) >= {files.NUMBERS, files.SHEET, files.NEAREST}
    assert not (folder / "done.json").exists()
    assert not list(runs.glob("pseudo-labels-*"))


def test_a_limit_that_is_kept_lets_the_same_results_be_used(runs: Path, config: Path) -> None:
    """The limit is no part of what is trained: only the measuring is done again."""
    said = run_here(config, runs, LIMIT, upto="mixed")
    assert [line.split()[1] for line in said if ": running (" in line] == ["fidelity:"]


def test_so_few_photographs_that_nothing_can_be_measured_do_not_stop_the_pipeline(tmp_path: Path) -> None:
    config = write_config(tmp_path / "few.yaml", {"data.num_val": 4, "gan.kimg": 0.02})  # leaves two to train on
    run_here(config, tmp_path / "runs", upto="fidelity")
    assert numbers(tmp_path / "runs")["not_measured"].startswith("only 2 training photographs")
    with pytest.raises(StageFailedError):
        run_here(config, tmp_path / "runs", LIMIT, upto="fidelity")


def test_the_stage_gives_the_same_bytes_again(runs: Path, config: Path, tmp_path: Path) -> None:
    [folder] = runs.glob("fidelity-*")
    before = {
        name: (folder / name).read_bytes() for name in files_below(folder) if not name.startswith(("done", "req"))
    }
    shutil.rmtree(folder)
    run_here(config, runs, upto="fidelity")
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert set(before) == {files.NUMBERS, files.TABLE, files.TEXT, files.NEAREST, files.SHEET}


def test_without_it_there_is_no_such_stage_and_the_report_does_without(config: Path, tmp_path: Path) -> None:
    planned = plan(config, tmp_path, "fidelity.enabled=false")
    assert "fidelity" not in [item.stage.name for item in planned]


def test_snapshots_are_measured_on_the_same_seeds(runs: Path, config: Path) -> None:
    run_here(config, runs, "fidelity.snapshots=true", upto="fidelity")
    [path] = runs.glob(f"fidelity-*/{files.SNAPSHOTS}")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(row["kimg"]) for row in rows] == [0.04, 0.08]
    drawn = json.loads((path.parent / files.NUMBERS).read_text())["sets"]["drawn"]["numbers"]
    assert float(rows[-1]["kid"]) == pytest.approx(drawn["kid"]["value"])  # the last snapshot is the trained GAN
    assert float(rows[0]["kid"]) != pytest.approx(drawn["kid"]["value"])
