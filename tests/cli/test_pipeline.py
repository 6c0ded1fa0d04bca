"""`segkit pipeline`, `segkit stage` and the stages under the names users think in."""

import shutil
from pathlib import Path

import pytest

from pipelines.recipes import RECIPES
from segkit.cli.recipes import shipped_configs
from segkit.core.config import parse_yaml
from segkit.core.files import write_json, write_text
from segkit.core.run_folder import DONE, REQUEST
from segkit.core.wording import duration
from tests.pipelines.tiny import STAGES, TINY, plan, segkit_here, write_config


def out_of(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> str:
    capsys.readouterr()
    assert segkit_here(*args) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def without_reasons(text: str) -> list[str]:
    """The lines of the stages alone."""
    return [line for line in text.splitlines() if not line.strip().startswith("unlike")]


def test_list_names_the_recipes_and_the_shipped_settings(capsys: pytest.CaptureFixture[str]) -> None:
    recipes, settings = out_of(capsys, "pipeline", "list").split("\n\n")
    assert [line.partition(":")[0] for line in recipes.splitlines()] == list(RECIPES)
    assert [line.split(":")[0].strip() for line in settings.splitlines()[1:]] == shipped_configs()


def test_show_prints_the_settings_with_every_default_and_the_graph(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = out_of(capsys, "pipeline", "show", "synthetic-aug", "-c", str(config), "--set", "gan.kimg=7")
    settings = parse_yaml(shown, "shown")
    assert settings["gan"]["kimg"] == 7
    assert settings["gan"]["r1_interval"] == 16
    assert settings["teacher"]["model"]["widths"] == TINY["teacher"]["model"]["widths"]
    graph = [line[2:].split() for line in shown.splitlines() if line.startswith("# ")][-len(STAGES) :]
    assert [line[0] for line in graph] == STAGES
    assert graph[5] == ["pseudo-labels", "pseudo-label", "samples,", "teacher"]


def test_what_show_prints_is_a_settings_file_of_the_same_pipeline(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.yaml"
    again.write_text(out_of(capsys, "pipeline", "show", "synthetic-aug", "-c", str(config)))
    one, two = plan(config, tmp_path), plan(again, tmp_path)
    assert [item.fingerprint for item in one] == [item.fingerprint for item in two]


def test_two_settings_files_are_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = out_of(capsys, "pipeline", "show", "train", "-c", str(config), "-c", "demo", code=2)
    assert "give one settings file" in said


def test_a_settings_file_of_another_recipe_names_that_recipe(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in (str(config), "demo"):
        [line] = out_of(capsys, "pipeline", "show", "train", "-c", given, code=2).splitlines()
        assert "this file is for the recipe synthetic-aug, not for train" in line
    assert "segkit pipeline run synthetic-aug -c demo" in out_of(capsys, "pipeline", "run", "demo", code=2)
    # several recipes have these sections; the head of the file names one
    other = tmp_path / "other.yaml"
    other.write_text("# segkit pipeline run cross-validate -c other.yaml\nmodel: {}\n")
    assert "for the recipe cross-validate" in out_of(capsys, "pipeline", "show", "repeat", "-c", str(other), code=2)
    other.write_text("modle: {}\n")
    assert "did you mean 'model'?" in out_of(capsys, "pipeline", "show", "train", "-c", str(other), code=2)


def test_data_comes_last_of_all_settings(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ("pipeline", "show", "synthetic-aug", "-c", str(config), "--data", "drive:/a: b")
    assert parse_yaml(out_of(capsys, *args), "shown")["data"]["source"] == "drive:/a: b"


def test_a_dry_run_says_what_would_run_and_writes_nothing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("pipeline", "run", "synthetic-aug", "-c", str(config), "--runs", str(tmp_path / "runs"), "--dry-run")
    lines = out_of(capsys, *args).splitlines()
    planned = plan(config, tmp_path / "runs")
    assert lines == [
        f"[{number}/11] {item.stage.name}: would run ({item.folder.name})"
        for number, item in enumerate(planned, start=1)
    ]
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_and_status_know_what_is_done_and_what_is_started(
    finished_runs: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = ["--set", "students.mixed.phases.0.epochs=2"]
    args = ["synthetic-aug", "-c", str(config), "--runs", str(finished_runs)]
    lines = without_reasons(out_of(capsys, "pipeline", "run", *args, *changed, "--dry-run"))
    assert [line.split(": ")[1].split(" (")[0] for line in lines] == ["done"] * 6 + ["would run"] * 5
    lines = without_reasons(out_of(capsys, "pipeline", "status", *args, *changed))
    assert [line.split()[:2] for line in lines] == [
        [stage, "done" if stage in STAGES[:6] else "missing"] for stage in STAGES
    ]
    started = plan(config, tmp_path / "runs")[0].folder / "work" / "started"
    started.parent.mkdir(parents=True)
    started.touch()
    args[-1] = str(tmp_path / "runs")
    assert out_of(capsys, "pipeline", "status", *args).splitlines()[0].split()[:2] == ["data", "started"]
    assert ": would resume (data-" in out_of(capsys, "pipeline", "run", *args, "--dry-run").splitlines()[0]


@pytest.mark.parametrize(
    ("command", "last"),
    [
        (["train"], "teacher"),
        (["train", "--stage", "mixed-control"], "mixed-control"),
        (["gan", "train"], "gan"),
        (["gan", "sample"], "samples"),
        (["pseudo-label"], "pseudo-labels"),
        (["ensemble"], "ensemble"),
    ],
)
def test_a_part_of_the_recipe_runs_up_to_its_stage(
    command: list[str], last: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = out_of(capsys, *command, "-c", str(config), "--runs", str(tmp_path), "--dry-run").splitlines()
    named = [line.split()[1].rstrip(":") for line in lines]
    assert named == [item.stage.name for item in plan(config, tmp_path, upto=last)]
    assert named[-1] == last


def test_a_run_ends_with_the_place_of_its_last_result_which_no_cleaning_removes(
    finished_runs: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished_runs, runs)
    gan = next(runs.glob("gan-*"))
    args = ("-c", str(config), "--runs", str(runs))
    assert out_of(capsys, "gan", "train", *args).splitlines()[-1] == f"result: {gan}"
    shutil.rmtree(next(runs.glob("report-*")))
    (runs / "report-000000000000").mkdir()  # of another pipeline, which finished later
    write_text(runs / "report-000000000000" / REQUEST, "fingerprint: '000000000000'\ngroup: other\n")
    record = {"type": "report", "inputs": {}, "finished": "2100-01-01T00:00:00+0000"}
    write_json(runs / "report-000000000000" / DONE, record)
    out_of(capsys, "runs", "clean", str(runs), "--yes")
    kept = {path.parent.name.partition("-")[0] for path in runs.glob(f"*/{DONE}")}
    assert kept == {"data", "gan", "report"}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["techer"], "there is no stage 'techer'; did you mean 'teacher'?"),
        (["teacher"], "stage teacher reads data; give --input data=DIR"),
        (["teacher", "--input", "data"], "--input 'data' is not of the form NAME=DIR"),
        (["teacher", "--input", "data=no/where"], "--input data: no/where is not a folder"),
        (["teacher", "--input", "data=.", "--input", "gan=."], "stage teacher reads data, not gan"),
        (["data", "--input", "data=."], "stage data reads nothing, not data"),
        (["teacher", "--input", "data=."], " holds no finished stage"),
    ],
)
def test_a_wrong_request_for_a_stage_is_answered(
    args: list[str], words: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert words in out_of(capsys, "stage", *args, "-c", str(config), "--out", str(out), code=2)
    assert not out.exists()


def test_a_stage_file_of_another_stage_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stage.yaml"
    path.write_text("stage: gan\ntype: gan\n")
    words = out_of(capsys, "stage", "teacher", "-c", str(path), "--out", str(tmp_path / "out"), code=2)
    assert "stage.yaml is of the stage 'gan', not 'teacher'" in words


def test_a_stage_does_not_write_into_a_folder_of_yours(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.tex").write_text("mine")
    words = out_of(capsys, "stage", "data", "-c", str(config), "--out", str(tmp_path / "thesis"), code=2)
    assert "holds files that are not segkit's (chapter-1.tex, ...); give another --out" in words
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter-1.tex"]


def test_settings_files_may_name_the_data_or_leave_it_to_the_command(
    tmp_path: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "none.yaml", {"data.source": None})
    args = ["pipeline", "run", "synthetic-aug", "-c", str(config), "--runs", str(tmp_path), "--dry-run"]
    assert "no data set given" in out_of(capsys, *args, code=2)
    assert "the same -c, --set and --data" in out_of(capsys, "pipeline", "status", "train", code=2)
    assert "data: would run" in out_of(capsys, *args, "--data", f"drive:{phantoms}")
    assert "data: would run" in out_of(capsys, *args, "--data", "phantom")


def test_a_dry_run_and_status_name_the_setting_that_differs_and_the_time_of_the_last_result(
    finished_runs: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = ["--set", "students.mixed.phases.0.epochs=2"]
    args = ["synthetic-aug", "-c", str(config), "--runs", str(finished_runs)]
    before = {item.stage.name: item for item in plan(config, finished_runs)}
    took = duration(before["mixed"].done["seconds"])  # type: ignore[index]
    for command in (["run", *args, *changed, "--dry-run"], ["status", *args, *changed]):
        lines = out_of(capsys, "pipeline", *command).splitlines()
        why = [line.strip() for line in lines if line.strip().startswith("unlike")]
        assert why[0] == (f"unlike {before['mixed'].folder.name}, which took {took}: phases.0.epochs 2 (was 1)")
        assert why[1].endswith(": phases.0.epochs 2 (was 1)")  # of its control
        assert why[2].endswith(": input mixed")  # of the ensemble
