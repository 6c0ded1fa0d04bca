"""Cleaning of a runs folder."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from pipelines.results import cleaning
from pipelines.results.cleaning import keep, plan_cleaning, remove
from segkit.core.files import write_json, write_text
from segkit.core.run_folder import DONE, LOCKS, REQUEST, WORK
from tests.pipelines.tiny import segkit_here


def write_stage(
    runs: Path, stage: str, mark: str, group: str, minute: int, *inputs: Path, kind: str = "train", done: bool = True
) -> Path:
    """The folder of a stage of 1000 bytes."""
    fingerprint = mark * 12
    folder = runs / f"{stage}-{fingerprint}"
    names = [path.name.split("-")[0] for path in inputs]
    request = (
        f"fingerprint: {fingerprint}\nstage: {stage}\ngroup: {group}\ninputs: {dict(zip(names, names, strict=True))}"
    )
    write_text(folder / REQUEST, request)
    write_text(folder / "weights", "x" * 1000)
    read = {path.name.split("-")[0]: {"folder": os.path.relpath(path, folder)} for path in inputs}
    if done:
        finished = f"1970-01-01T00:{minute:02d}:00+0000"
        write_json(folder / DONE, {"type": kind, "inputs": read, "finished": finished})
    else:
        write_text(folder / WORK / "started", "")
    os.utime(folder / REQUEST, (60 * minute, 60 * minute))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A finished pipeline; an older one that stopped early and shares its data; things of other origin."""
    runs = tmp_path / "runs"
    data = write_stage(runs, "data", "a", "old", 1, kind="data")
    write_stage(runs, "gan", "b", "old", 2, data)
    write_stage(runs, "samples", "c", "old", 3, done=False)
    model = write_stage(runs, "model", "d", "finished", 4, data)
    write_stage(runs, "report", "e", "finished", 5, model, kind="report")
    write_text(runs / "exported" / "model.json", "{}")
    write_text(runs / "notes-012345678912" / REQUEST, "fingerprint: 0\n")
    shutil.copytree(runs / "gan-bbbbbbbbbbbb", tmp_path / "elsewhere")
    (runs / "linked-bbbbbbbbbbbb").symlink_to(tmp_path / "elsewhere")
    return runs


def removable(runs: Path) -> list[str]:
    return [stage.path.name for stage in plan_cleaning(runs).removable]


def test_only_stages_that_no_finished_pipeline_was_made_from_are_removed(runs: Path) -> None:
    before = {path.name for path in runs.iterdir()}
    assert [stage.num_bytes > 1000 for stage in plan_cleaning(runs).removable] == [True, True]
    assert segkit_here("runs", "clean", str(runs), "--yes") == 0
    assert before - {path.name for path in runs.iterdir()} == {"gan-bbbbbbbbbbbb", "samples-cccccccccccc"}
    assert (runs / "linked-bbbbbbbbbbbb" / DONE).is_file()
    assert removable(runs) == []


def test_a_pipeline_that_stopped_last_is_kept_with_its_inputs(runs: Path) -> None:
    other = write_stage(runs, "gan", "1", "third", 0)
    write_stage(runs, "fold", "2", "newest", 9, other, done=False)
    assert removable(runs) == ["samples-cccccccccccc"]  # it is unknown which of two folders of `gan` is read


def test_the_inputs_of_a_stage_that_was_started_by_hand_are_kept(runs: Path) -> None:
    by_hand = write_stage(runs, "mine", "3", "none", 0, runs / "gan-bbbbbbbbbbbb", kind="sample")
    by_hand.rename(runs / "mine")
    assert removable(runs) == ["samples-cccccccccccc"]


def test_a_stage_that_was_asked_for_by_name_is_kept_with_its_inputs(runs: Path) -> None:
    samples = write_stage(runs, "drawn", "4", "by-hand", 1, runs / "gan-bbbbbbbbbbbb", kind="sample")
    assert removable(runs) == ["drawn-444444444444", "gan-bbbbbbbbbbbb", "samples-cccccccccccc"]
    keep(samples)
    assert removable(runs) == ["samples-cccccccccccc"]
    assert segkit_here("runs", "clean", "--runs", str(runs), "--yes") == 0
    assert removable(runs) == []
    assert (runs / "gan-bbbbbbbbbbbb" / "weights").is_file()


def test_without_a_finished_pipeline_nothing_is_removed(runs: Path) -> None:
    shutil.rmtree(runs / "report-eeeeeeeeeeee")
    assert removable(runs) == []


def test_a_pipeline_with_a_locked_stage_is_kept(runs: Path) -> None:
    (runs / LOCKS).mkdir()
    planned = plan_cleaning(runs)
    with FileLock(runs / LOCKS / "samples-cccccccccccc.lock"):
        assert removable(runs) == []
        assert [removed for _, removed in remove(planned)] == [True, False]
    assert (runs / "samples-cccccccccccc" / REQUEST).is_file()


def test_a_cleaning_that_is_killed_leaves_no_half_of_a_stage(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, **_: bool) -> None:
        if path.is_dir():
            (path / "weights").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cleaning.shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(remove(plan_cleaning(runs)))
    assert not (runs / "gan-bbbbbbbbbbbb").exists()
    assert segkit_here("runs", "clean", str(runs), "--yes") == 0
    assert not (runs / cleaning.REMOVED).exists()


@pytest.mark.parametrize("answer", ["n\n", "y\n"])
def test_nothing_is_removed_without_consent(
    runs: Path, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segkit_here("runs", "clean", str(runs), "--dry-run") == 0
    assert "gan-bbbbbbbbbbbb" in capsys.readouterr().out
    monkeypatch.setattr("click.confirm", lambda _: answer == "y\n")
    assert segkit_here("runs", "clean", str(runs)) == 0
    assert (runs / "gan-bbbbbbbbbbbb").exists() == (answer == "n\n")
