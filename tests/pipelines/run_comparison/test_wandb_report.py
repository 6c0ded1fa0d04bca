"""W&B's report of a pipeline's group, built without a network."""

import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.results.final_numbers import evaluation_numbers
from pipelines.run_comparison.finished import FinishedRun, list_runs
from pipelines.run_comparison.wandb_report import build, runs_of_group
from segkit.core.errors import RequestError
from segkit.core.files import read_json, write_json, write_text
from segkit.core.run_folder import DONE, REQUEST
from tests.pipelines.finished_runs import scores, write_run
from tests.pipelines.tiny import segkit_here


def tracked(runs: Path, seed: int, group: str, **runtime: Any) -> Path:
    """A finished run that W&B tracked."""
    folder = write_run(runs, scores(0.3), minute=seed, seed=seed)
    write_json(folder / "verdict.json", {"headline": f"Dice of seed {seed}"})
    write_text(folder / REQUEST, f"group: {group}\n")
    record = read_json(folder / DONE)
    record["runtime"] = {"tracker": "wandb", "wandb_project": "eyes"} | runtime
    write_json(folder / DONE, record)
    return folder


@pytest.fixture
def group(tmp_path: Path) -> list[FinishedRun]:
    """Two of three runs."""
    for seed, name in ((0, "repeat-1234"), (1, "repeat-1234"), (2, "other-5678")):
        tracked(tmp_path, seed, name)
    listed = list_runs(tmp_path).runs
    return runs_of_group(listed[-1], listed)


def test_report_and_workspace_show_the_runs_of_the_group(group: list[FinishedRun]) -> None:
    pytest.importorskip("wandb_workspaces", reason="the extra wandb-report is not installed")
    report, workspace = build(group, "lab")
    assert (report.entity, report.project, report.title) == ("lab", "eyes", "train 1234")
    listed = next(block for block in report.blocks if type(block).__name__ == "UnorderedList")
    assert listed.items == ["runtime.seed = 0: Dice of seed 0", "runtime.seed = 1: Dice of seed 1"]

    results, settings, training = (block for block in report.blocks if type(block).__name__ == "PanelGrid")
    scatter, bars = results.panels
    keys = evaluation_numbers(group[0].measured).keys()
    assert {scatter.y.name, *(metric.name for metric in bars.metrics)} <= keys
    assert scatter.x.name == "runtime.seed"
    assert {y for panel in training.panels for y in panel.y} >= {"val/dice", "train/loss", "gan/ada_p"}
    both = "Metric(\"Group\") == 'repeat-1234' and Metric(\"JobType\") {} 'pipeline'"
    filters = [grid.runsets[0].filters for grid in (results, settings, training)]
    assert filters == [both.format("=="), both.format("=="), both.format("!=")]

    saved = workspace._to_model().model_dump(by_alias=True)
    assert (saved["entity"], saved["project"], saved["displayName"]) == ("lab", "eyes", "train 1234")
    [run_set] = saved["spec"]["section"]["runSets"]
    [chosen] = run_set["runFeed"].get("filters", run_set["filters"])["filters"]
    assert (chosen["key"]["name"], chosen["op"], chosen["value"]) == ("group", "=", "repeat-1234")


def test_without_the_extra_the_error_names_it(group: list[FinishedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(RequestError, match=r"segkit\[wandb-report\]"):
        build(group, "lab")


def test_a_run_without_wandb_or_without_a_login_has_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracked(tmp_path, 0, "a-1")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert segkit_here("wandb", "report", "--runs", str(tmp_path)) == 2
    assert "wandb login" in capsys.readouterr().err
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert segkit_here("wandb", "report", "--runs", str(tmp_path)) == 1
    assert "does not answer" in capsys.readouterr().err
    tracked(tmp_path, 1, "a-1", tracker="csv")
    assert segkit_here("wandb", "report", "--runs", str(tmp_path)) == 2
    assert "runtime.tracker=wandb" in capsys.readouterr().err
