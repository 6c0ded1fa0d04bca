"""The notebook of the Python API runs from top to bottom."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.tiny import environment

NOTEBOOK = Path(__file__).parents[2] / "docs" / "python.ipynb"

pytestmark = pytest.mark.slow


def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    data = "num_train=4, num_test=2"
    assert data in code
    code = code.replace(data, "num_train=2, num_test=1")  # less to predict, by the same code
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True, capture_output=True)
    assert len(list((tmp_path / "predictions" / "overlay").glob("*.png"))) == 3
