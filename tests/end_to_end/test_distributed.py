"""Two processes through the command line give what one gives."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from segkit.core.files import read_json
from segkit.tasks.weights import read_card
from tests.end_to_end import kill_test
from tests.pipelines.tiny import files_below, run_here, run_segkit, write_config

pytestmark = pytest.mark.slow

TWO = ("--set", "runtime.devices=2")


def run_on_two(config: Path, runs: Path, cwd: Path, *args: str) -> str:
    """What `segkit pipeline run` says that shares every stage between two processes."""
    command = ["pipeline", "run", "synthetic-aug", "-c", str(config), "--runs", str(runs), *TWO, *args]
    ended = run_segkit(*command, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def test_samples_their_fidelity_and_scores_are_the_same_byte_for_byte(
    finished_runs: Path, tmp_path: Path, config: Path
) -> None:
    runs = shutil.copytree(finished_runs, tmp_path / "runs")
    for stage in ("samples", "fidelity", "evaluate"):
        shutil.rmtree(next(runs.glob(f"{stage}-*")))
    said = run_on_two(config, runs, tmp_path)
    running = [line.split()[1] for line in said.splitlines() if ": running (" in line]
    assert running == ["samples:", "fidelity:", "evaluate:"]
    assert kill_test.differences(finished_runs, runs) == []
    assert files_below(runs) == files_below(finished_runs)
    assert read_json(next(runs.glob("evaluate-*")) / "done.json")["runtime"]["devices"] == 2


def test_a_network_trained_by_two_is_the_one_trained_by_one(foreign: Path, tmp_path: Path) -> None:
    """The shipped form, with batch norm, DropBlock and flips: eight steps whose curves and scores agree.

    Neither the stage nor its second process imports anything from the working folder.
    """
    phase = {"data": "real", "epochs": 4, "batch_size": 2, "augmentation": "flips"}
    config = write_config(tmp_path / "teacher.yaml", {"teacher.model": {"widths": [8, 16]}, "teacher.phases": [phase]})
    one, two = tmp_path / "one", tmp_path / "two"
    run_here(config, one, upto="teacher")
    shutil.copytree(next(one.glob("data-*")), two / next(one.glob("data-*")).name)
    run_on_two(config, two, foreign, "--upto", "teacher")
    teachers = [next(runs.glob("teacher-*")) for runs in (one, two)]
    assert teachers[0].name == teachers[1].name
    assert files_below(teachers[0]) == files_below(teachers[1])
    curves = [np.genfromtxt(folder / "curves-0.csv", delimiter=",", names=True) for folder in teachers]
    assert len(curves[0]) == 4
    for name in curves[0].dtype.names:
        np.testing.assert_allclose(curves[1][name], curves[0][name], rtol=0, atol=1e-3, err_msg=name)
    weights: list[dict[str, Tensor]] = [load_file(folder / "model.safetensors") for folder in teachers]
    assert weights[0].keys() == weights[1].keys()
    # A few weights may differ by more: Adam makes whole steps, here of 1e-3, of gradients that are only rounding.
    # tests/tasks/test_sharding.py compares every weight in float64.
    apart = torch.cat([(weights[0][name] - weights[1][name]).abs().flatten() for name in weights[0]])
    assert (apart > 1e-5).float().mean() < 0.01
    scores = [read_card(folder).val_dice for folder in teachers]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)
