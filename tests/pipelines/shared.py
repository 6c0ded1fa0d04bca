"""Fixtures of the tests of pipelines, commands and whole runs."""

import functools
import os
from pathlib import Path

import pytest
from filelock import FileLock

from pipelines.execution import runner
from segkit.data import phantom
from tests.pipelines import tiny


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file of the tiny pipeline."""
    return tiny.write_config(tmp_path / "tiny.yaml")


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labelled phantoms in DRIVE's form; tests copy the folder before they change it."""
    root = tmp_path_factory.mktemp("phantoms") / "DRIVE"
    phantom.write_dataset(root, num_train=6, num_test=2, height=48, width=52, seed=1)
    return root


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of a finished tiny pipeline; tests copy it before they change it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # one for all workers
    with FileLock(root / "tiny.lock"):
        runs = root / "tiny-runs"
        tiny.run_here(tiny.write_config(root / "tiny.yaml"), runs)
    return runs


@pytest.fixture
def stages_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """`segkit pipeline run` in this process carries its stages out in this process too."""
    monkeypatch.setattr(runner, "run", functools.partial(runner.run, launch=tiny.launch_here))
