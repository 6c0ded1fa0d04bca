"""Completion in the shell."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from segkit.cli import COMMANDS, cli
from tests.pipelines.finished_runs import scores, write_run
from tests.pipelines.results.test_model_names import write_model


def completed(*words: str, incomplete: str = "") -> list[str]:
    """The names that are offered after these words; a path as `file`."""
    items = ShellComplete(cli, {}, "segkit", "_SEGKIT_COMPLETE").get_completions(list(words), incomplete)
    return [item.value if item.type == "plain" else item.type for item in items]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A runs folder with a pipeline, a teacher and a GAN."""
    report = write_run(tmp_path / "runs", scores(0.3))
    write_model(report.parent, "teacher", "aa11", 1, 0.7)
    write_model(report.parent, "gan", "bb22", 2, None, "gan")
    return report.parent


def test_commands_are_completed_without_loading_them() -> None:
    assert completed() == list(COMMANDS)
    assert completed("gan", incomplete="eva") == ["evaluate"]


@pytest.mark.parametrize(
    ("words", "incomplete", "names"),
    [
        (("pipeline", "run"), "tr", ["train"]),
        (("train", "--recipe"), "syn", ["synthetic-aug"]),
        (("pipeline", "show", "train", "-c"), "demo", ["file", "demo"]),
        (("pipeline", "run", "synthetic-aug", "-c", "demo", "--upto"), "pseudo", ["pseudo-labels"]),
        (("pipeline", "run", "no-recipe", "--upto"), "", []),
        (("train", "--stage"), "te", ["teacher"]),
        (("models",), "little", ["file", "little-wnet"]),
        (("models",), "vess", ["file", "vessels", "vessels-fast"]),
        (("settings",), "phas", ["phase", "phases"]),
    ],
)
def test_names_are_completed(words: tuple[str, ...], incomplete: str, names: list[str]) -> None:
    assert completed(*words, incomplete=incomplete) == names


def test_names_of_a_runs_folder_are_completed(runs: Path) -> None:
    report = next(runs.glob("report-*")).name.removeprefix("report-")[:6]
    assert completed("runs", "show", "--runs", str(runs)) == ["file", "latest", "best", report]
    assert completed("predict", "--runs", str(runs), "--weights", incomplete="te") == [
        "file",
        "teacher",
        "teacher-aa11",
    ]
    assert completed("gan", "sample", "--runs", str(runs), "--weights") == ["file", "latest", "gan", "gan-bb22"]


def test_completion_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from click.shell_completion import ShellComplete; from segkit.cli import cli\n"
        "for words in (['predict', '--weights'], ['train', '--stage'], ['runs', 'show'], ['settings'], ['models']):\n"
        "    assert ShellComplete(cli, {}, 'segkit', '_X').get_completions(words, '')\n"
        "assert not {'torch', 'numpy', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
