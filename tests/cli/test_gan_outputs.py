"""Where the commands of `segkit gan` are to write is looked at before anything else."""

from pathlib import Path

import numpy as np
import pytest

from segkit.core import images
from tests.pipelines.tiny import segkit_here


@pytest.mark.parametrize(
    ("command", "option", "name"),
    [
        ("interpolate --seeds 1,2", "--out", "file/x.gif"),
        ("interpolate --seeds 1,2", "--out", "folder.png"),
        ("mix --rows 0 --columns 1", "--out", "file/x.png"),
        ("mix --rows 0 --columns 1", "--out", "mix.bmp"),
        ("sample --seeds 0", "--out", "file/x"),
        ("sample --seeds 0 --out out", "--grid", "folder.png"),
        ("project photo.png", "--out", "file/x"),
        ("project photo.png", "--out", "taken"),
        ("evaluate --features teacher", "--out", "file"),
        ("evaluate --features teacher", "--json", "file/x.json"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_weights_are_read(
    command: str,
    option: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for module in ("gan.drawing.projection_run", "gan.drawing.sampling"):
        monkeypatch.setattr(f"{module}.read_generator", lambda source: pytest.fail("weights were read"))
    images.write_image(Path("photo.png"), np.zeros((4, 4, 3), np.uint8))
    Path("file").touch()
    for folder in ("weights", "folder.png", "taken"):
        Path(folder).mkdir()
    Path("taken/photo").touch()  # where the projection of photo.png would lie
    before = set(tmp_path.rglob("*"))
    assert segkit_here("gan", *command.split(), "--weights", "weights", option, name) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {option} {name}")
    assert err.count("\n") == 1
    assert set(tmp_path.rglob("*")) == before
