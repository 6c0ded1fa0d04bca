"""How long stages are expected to take."""

from pathlib import Path

import pytest

from pipelines.execution import changes
from pipelines.execution.changes import Difference, Result, expected_seconds
from segkit.core.run_folder import read_done
from tests.pipelines.tiny import plan


@pytest.mark.parametrize(
    ("override", "known"),
    [
        ("teacher.threshold=0.3", True),
        ("teacher.phases.0.optimizer.learning_rate=0.01", True),
        ("teacher.phases.0.epochs=3", False),
        ("teacher.phases.0.batch_size=1", False),
        ("teacher.phases.0.images_per_epoch=4", False),
        ("teacher.model.widths=[4,12]", False),
        ("data.num_val=1", True),  # another setting of the stage data, and another input of the teacher
    ],
)
def test_a_stage_takes_as_long_as_before_unless_a_setting_changes_the_amount_of_work(
    override: str, known: bool, finished_runs: Path, config: Path
) -> None:
    before = read_done(next(finished_runs.glob("teacher-*")))
    expected = expected_seconds(plan(config, finished_runs, override), finished_runs)
    assert before is not None
    assert expected.get("teacher") == (before["seconds"] if known else None)


@pytest.mark.parametrize(
    ("key", "changes_the_work"),
    [
        ("phases.0.epochs", True),
        ("num_images", True),
        ("model.widths", True),
        ("truncation_psi", False),
        ("runtime.seed", False),
        ("pipeline.teacher.phases.0.epochs", False),
        (None, False),
    ],
)
def test_only_settings_of_the_stage_itself_change_its_work(key: str | None, changes_the_work: bool) -> None:
    assert Difference("num_images 3 epochs (was 2)", key).changes_the_work == changes_the_work


def test_a_finished_result_is_read_once(finished_runs: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: dict[Path, Result] = {}
    planned = plan(config, finished_runs, "evaluate.num_resamples=200")
    first = expected_seconds(planned, finished_runs, read)
    assert len(read) == 11
    new = next(iter(read))
    del read[new]
    opened: list[Path] = []
    real = changes.read_record
    monkeypatch.setattr(changes, "read_record", lambda folder: (opened.append(folder), real(folder))[1])
    assert expected_seconds(planned, finished_runs, read) == first
    assert opened == [new]
