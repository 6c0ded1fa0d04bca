"""A tiny phantom data set on disk, and a finished pipeline."""

from pathlib import Path

import pytest

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
