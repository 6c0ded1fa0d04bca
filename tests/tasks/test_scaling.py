"""Images of other cameras are predicted at the size of the training images' fields of view."""

from pathlib import Path

import numpy as np
import pytest

from segkit.core import images
from segkit.core.classes import VESSEL
from segkit.core.manifest import Row, Source
from segkit.data.fov import fov_diameter
from segkit.data.settings import GeometrySettings
from segkit.models import build_model
from segkit.models.settings import UNetSettings
from segkit.tasks.prediction import Predictor
from segkit.tasks.scaling import diameters, predict_image, scale_factor
from segkit.tasks.settings import InferenceSettings
from segkit.tasks.weights import load_predictor, save_network


def disc(height: int, width: int, diameter: int) -> np.ndarray:
    """A centred disc, cut by the frame where it is larger."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2)
    return distance <= diameter / 2


@pytest.mark.parametrize(
    ("size", "diameter", "expected"),
    [((60, 70), 40, 40), ((30, 70), 50, 50), ((70, 30), 50, 50), ((30, 30), 90, None)],
)
def test_the_diameter_is_known_where_one_axis_shows_both_borders(
    size: tuple[int, int], diameter: int, expected: int | None
) -> None:
    measured = fov_diameter(disc(*size, diameter))
    assert measured == expected if expected is None else abs((measured or 0) - expected) <= 1


@pytest.mark.parametrize(
    ("trained", "diameter", "expected"),
    [((40, 50), 45, 1), ((40, 50), 54, 1), ((40, 50), 37, 1), ((40, 40), 80, 0.5), ((40, 60), 20, 2), (None, 80, 1)],
)
def test_only_a_clearly_other_diameter_changes_the_scale(
    trained: tuple[int, int] | None, diameter: int, expected: float
) -> None:
    region = disc(100, 100, diameter)
    assert scale_factor("auto", trained, region) == pytest.approx(expected, rel=0.05)
    assert scale_factor(0.7, trained, region) == 0.7


def test_an_image_is_not_enlarged_for_a_small_lit_spot() -> None:
    assert scale_factor("auto", (40, 50), disc(100, 2000, 4)) == 1


class Brightness(Predictor):
    """Probability = red level; keeps the sizes of the images that it is given."""

    threshold = 0.5
    fov_diameters = (20, 20)

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def uncalibrated(self, image: np.ndarray, inference: InferenceSettings, region: object = None) -> np.ndarray:
        self.sizes.append(image.shape[:2])
        return (image[..., 0] / np.float32(255))[None].astype(np.float32)


def test_a_large_image_is_predicted_small_and_scaled_back() -> None:
    region = disc(60, 64, 40)
    image = np.where(region[..., None], np.uint8([200, 90, 40]), np.uint8(0))
    predictor = Brightness()
    probs = predict_image(predictor, image, region, InferenceSettings())
    [(height, width)] = predictor.sizes
    assert abs(height - 30) <= 1
    assert abs(width - 32) <= 1
    assert probs.shape == (1, 60, 64)
    assert probs[0, 30, 32] == pytest.approx(200 / 255, abs=0.01)
    assert not probs[0, ~region].any()
    predict_image(predictor, image, region, InferenceSettings(scale=1))
    assert predictor.sizes[-1] == (60, 64)


def test_the_range_of_the_training_images_is_part_of_the_model(tmp_path: Path) -> None:
    rows = []
    for number, diameter in enumerate((30, 36)):
        images.write_mask(tmp_path / f"{number}.png", disc(50, 50, diameter))
        rows.append(Row(f"{number}", "train", Source(tmp_path / "none"), region=Source(tmp_path / f"{number}.png")))
    low, high = diameters(rows, VESSEL) or (0, 0)
    assert abs(low - 30) <= 1
    assert abs(high - 36) <= 1
    settings = UNetSettings(widths=(2, 4))
    state = build_model(settings).state_dict()
    save_network(tmp_path / "m", state, settings, GeometrySettings(), fov_diameters=(low, high))
    assert load_predictor(tmp_path / "m").fov_diameters == (low, high)
    images.write_mask(tmp_path / "all.png", np.ones((50, 50), bool))
    rows.append(Row("all", "train", Source(tmp_path / "none"), region=Source(tmp_path / "all.png")))
    assert diameters(rows, VESSEL) is None
