"""Offline runs are found, sent by W&B's command, which is replaced here, and reported one by one."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from click.testing import CliRunner

from segkit.cli import cli
from segkit.tasks import wandb_runs, wandb_sync
from segkit.tasks.wandb_runs import RunLabel


def offline_run(runs: Path, stage: str, time: str, name: str = "offline-run") -> Path:
    folder = runs / stage / "wandb" / f"{name}-20250101_{time}-{stage}"
    folder.mkdir(parents=True)
    (folder / f"run-{stage}.wandb").write_bytes(b"")
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four runs: two offline, one sent before, one online that was cut off; and a complete online one."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb_runs, "connection_error", lambda url: None)
    offline_run(tmp_path, "teacher-1", "000002")
    offline_run(tmp_path, "data-1", "000001")
    sent = offline_run(tmp_path, "gan-1", "000003")
    (sent / "run-gan-1.wandb.synced").touch()
    (offline_run(tmp_path, "evaluate-1", "000004", "run").parent / wandb_runs.UNSENT).touch()
    offline_run(tmp_path, "report-1", "000005", "run")
    return tmp_path


def answer(failing: str, calls: list[str]) -> Any:
    """Stands for `wandb sync`, which marks a run that it has sent."""

    def run(command: list[str], **given: Any) -> SimpleNamespace:
        folder = Path(command[-1])
        calls.append(folder.parents[1].name)
        if folder.parents[1].name == failing:
            return SimpleNamespace(returncode=1, stdout="", stderr="wandb: ERROR permission denied\n")
        (folder / f"run-{folder.parents[1].name}.wandb.synced").touch()
        return SimpleNamespace(returncode=0, stdout="wandb: done\n", stderr="")

    return run


def sync(runs: Path, *options: str) -> Any:
    return CliRunner().invoke(cli, ["wandb", "sync", "--runs", str(runs), *options])


def test_every_unsent_run_is_sent_in_order_and_a_failure_is_named(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(subprocess, "run", answer("teacher-1", calls))
    result = sync(runs)
    assert calls == ["data-1", "teacher-1", "evaluate-1"]
    lines = result.output.splitlines()
    assert [line.rpartition("/")[0] for line in lines[:3]] == calls
    assert [line.endswith(": sent") for line in lines[:3]] == [True, False, True]
    assert "permission denied" in lines[1]
    assert result.exception is not None
    calls.clear()
    monkeypatch.setattr(subprocess, "run", answer("", calls))
    assert sync(runs).exit_code == 0
    assert calls == ["teacher-1"]  # the others are not sent twice
    assert "no W&B run" in sync(runs).output


def test_a_dry_run_lists_and_sends_nothing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(subprocess, "run", answer("", calls))
    assert len(sync(runs, "--dry-run").output.splitlines()) == 3
    assert calls == []


def test_inputs_of_a_sent_run_are_declared_and_artifacts_that_wandb_lacks_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    class Api:
        def run(self, path: str) -> SimpleNamespace:
            assert path == "segkit/teacher-1"
            return SimpleNamespace(use_artifact=used.append)

        def artifact(self, name: str) -> str:
            if "lost" in name:
                raise ValueError("not found")
            return name

    monkeypatch.setattr(wandb, "Api", Api)
    path = tmp_path / wandb_runs.LINEAGE
    path.write_text(json.dumps({"project": "segkit", "run": "teacher-1", "inputs": ["data:abc", "lost:def"]}))
    assert wandb_sync.declare_inputs(path) is None
    assert used == ["segkit/data:abc"]
    assert not path.exists()


def test_a_pipeline_waits_ten_seconds_in_vain_for_all_its_stages_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is replaced: each attempt takes all the time that it is given."""
    clock, given = [0.0], []

    def init(mode: str, settings: Any, **_: Any) -> str:
        if mode == "online":
            given.append(settings.init_timeout)
            clock[0] += settings.init_timeout
            raise wandb.errors.CommError("no answer")
        return "run"

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "teardown", lambda: None)
    monkeypatch.setattr(wandb_runs.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(wandb_runs, "connection_error", lambda url: None)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with wandb_runs.offline_if_unreachable(print):
        wandb_runs.add_waited(3.0)
        for number in range(11):
            label = RunLabel(f"stage-{number}", "stage", "stage")
            assert wandb_runs.start_run("segkit", label, tmp_path / str(number), {}) == ("run", False)
    assert given == pytest.approx([7.0])
    assert wandb_runs.WAITED not in os.environ


def test_an_upload_that_is_cut_off_counts_as_waiting_and_leaves_a_mark(tmp_path: Path) -> None:
    class Run:
        def finish(self) -> None:
            raise TimeoutError("upload")

    (tmp_path / "wandb").mkdir()
    with pytest.raises(TimeoutError):
        wandb_runs.finish_run(Run(), tmp_path)
    assert (tmp_path / "wandb" / wandb_runs.UNSENT).exists()
