"""`segkit runs`."""

import csv
import json
from pathlib import Path

import pytest

from pipelines.run_comparison.finished import read_run
from tests.pipelines.finished_runs import scores, write_run
from tests.pipelines.tiny import segkit_here


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A runs folder with two runs, of which the newer one is better."""
    for minute, noise in enumerate([0.5, 0.3]):
        write_run(tmp_path / "runs", scores(noise, noise_seed=minute), minute=minute, seed=minute)
    return tmp_path / "runs"


def ids(runs: Path) -> list[str]:
    """Short ids, the older run first."""
    read = sorted((read_run(folder) for folder in runs.glob("report-*")), key=lambda run: run.finished)
    return [run.fingerprint[:6] for run in read]


def test_the_list_has_a_line_for_each_run(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("runs", "list", "--runs", str(runs), "--json", str(tmp_path / "list.json")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.split()[0:1] in ([name] for name in ids(runs))] == ids(runs)[::-1]
    assert [run["id"] for run in json.loads((tmp_path / "list.json").read_text())["runs"]] == ids(runs)[::-1]


def test_an_empty_folder_holds_no_run(tmp_path: Path) -> None:
    assert segkit_here("runs", "list", "--runs", str(tmp_path)) == 0
    assert segkit_here("runs", "list", "--runs", str(tmp_path / "absent")) == 2


def test_a_folder_in_place_of_a_name_gets_the_option_as_a_hint(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("runs", "list", str(runs)) == 2
    assert "--runs FOLDER" in capsys.readouterr().err


def test_a_run_is_shown_with_its_report(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("runs", "show", "latest", "--runs", str(runs)) == 0
    out = capsys.readouterr().out
    assert str(next(runs.glob(f"report-{ids(runs)[1]}*")) / "report.html") in out
    assert "runtime.seed" in out


def test_a_comparison_is_written_in_every_format(runs: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"comparison.{name}" for name in ("html", "csv", "json")}
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    older, newer = ids(runs)
    assert segkit_here("runs", "compare", newer, older, "--baseline", older, "--runs", str(runs), *options) == 0
    saved = json.loads(files["json"].read_text())
    assert (saved["baseline"], saved["differences"][0]["run"]) == (older, newer)
    with files["csv"].open(newline="") as file:
        assert {row["run"] for row in csv.DictReader(file)} == {older, newer}
    assert files["html"].read_text().startswith("<!doctype html>")


def test_a_wrong_metric_or_run_is_a_wrong_request(runs: Path) -> None:
    assert segkit_here("runs", "compare", "latest", "best", "--runs", str(runs)) == 2  # one run with two names
    assert segkit_here("runs", "compare", *ids(runs), "--metric", "dise", "--runs", str(runs)) == 2
    assert segkit_here("runs", "show", "zz", "--runs", str(runs)) == 2
