"""What these tests share."""

from pathlib import Path

import pytest

from tests.pipelines.shared import config, finished_runs, phantoms, stages_here

__all__ = ["config", "finished_runs", "phantoms", "stages_here"]

FOREIGN = ("gan", "pipelines", "click", "yaml", "numpy", "torch", "lightning", "random", "csv")
"""Names of our packages, of packages that we import, and of modules of the standard library."""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A working folder with files of these names, each of which ends a process that imports it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in FOREIGN:
        (folder / f"{name}.py").write_text(f"raise SystemExit('imported {name}.py of the working folder')\n")
    return folder
