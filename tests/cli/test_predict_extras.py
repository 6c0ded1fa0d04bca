"""Overlays and the table of vessels beside predictions."""

import re
from pathlib import Path

import numpy as np
import pytest

from segkit.core import images
from segkit.core.classes import VESSEL, Classes
from segkit.core.files import read_csv
from segkit.data.phantom import draw
from segkit.data.settings import GeometrySettings
from segkit.metrics.vessel_statistics import vessel_statistics
from segkit.models import build_model
from segkit.models.settings import UNetSettings
from segkit.tasks.weights import save_network
from tests.pipelines.tiny import segkit_here


def predict(tmp_path: Path, *options: str, classes: Classes = VESSEL) -> int:
    settings = UNetSettings(widths=(2, 4))
    network = build_model(settings, classes.num_channels)
    save_network(tmp_path / "model", network.state_dict(), settings, GeometrySettings(), 0.5, classes=classes)
    images.write_image(tmp_path / "photo.png", draw(0, 96, 92).image)
    arguments = ("--weights", str(tmp_path / "model"), "--out", str(tmp_path / "out"), *options)
    return segkit_here("predict", *arguments, str(tmp_path / "photo.png"))


def test_the_overlay_marks_the_predicted_pixels(tmp_path: Path) -> None:
    assert predict(tmp_path, "--overlay") == 0
    vessels = images.read_mask(tmp_path / "out" / "binary" / "photo.png")
    picture = images.read_image(tmp_path / "out" / "overlay" / "photo.png")
    assert picture.shape == (96, 92, 3)
    np.testing.assert_array_equal((picture == VESSEL.palette[0]).all(axis=-1), vessels)


def test_the_table_holds_the_statistics_of_each_image(tmp_path: Path) -> None:
    from segkit.data.fov import estimate_fov

    assert predict(tmp_path, "--vessel-table") == 0
    [row] = read_csv(tmp_path / "out" / "vessels.csv")
    documented = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text().partition("## Measure vessels")[2]
    assert list(row) == re.findall(r"^\| `(\w+)` \|", documented.partition("\n## ")[0], re.MULTILINE)
    vessels = images.read_mask(tmp_path / "out" / "binary" / "photo.png")
    expected = vessel_statistics(vessels, estimate_fov(images.read_image(tmp_path / "photo.png")))
    assert (row.pop("name"), row.pop("warnings")) == ("photo", "")
    for key, value in row.items():
        assert float(value or "nan") == pytest.approx(getattr(expected, key), rel=1e-5, nan_ok=True)


def test_a_later_command_keeps_the_rows_of_other_images_in_the_table(tmp_path: Path) -> None:
    def again(name: str, phantom: int, *options: str) -> list[dict[str, str]]:
        images.write_image(tmp_path / f"{name}.png", draw(phantom, 96, 92).image)
        arguments = ("--weights", str(tmp_path / "model"), "--out", str(tmp_path / "out"), *options)
        assert segkit_here("predict", *arguments, str(tmp_path / f"{name}.png")) == 0
        return read_csv(tmp_path / "out" / "vessels.csv")

    assert predict(tmp_path, "--vessel-table") == 0
    [photo] = read_csv(tmp_path / "out" / "vessels.csv")
    assert again("other", 1, "--vessel-table")[0] == photo
    again("photo", 2)  # another photograph of the same name, not measured
    assert [row["name"] for row in again("other", 1, "--vessel-table")] == ["other"]


def test_several_classes_have_no_table_of_vessels(tmp_path: Path) -> None:
    classes = Classes(kind="multiclass", names=("background", "vessel", "disc"))
    assert predict(tmp_path, "--vessel-table", classes=classes) == 2
    assert not (tmp_path / "out").exists()
