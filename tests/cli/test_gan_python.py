"""`segkit.gan`: the images of `segkit gan sample` in Python."""

from pathlib import Path

import numpy as np
import pytest

import segkit.gan
from segkit.core import images
from segkit.core.errors import RequestError, WeightsError
from tests.cli.gans import save_gan
from tests.pipelines.tiny import segkit_here


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_gan(tmp_path / "weights")
    return tmp_path / "weights"


def test_python_and_the_command_line_draw_the_same_images(weights: Path, tmp_path: Path) -> None:
    options = ("--seeds", "3,7", "--truncation-psi", "0.5")
    assert segkit_here("gan", "sample", "--weights", str(weights), "--out", str(tmp_path / "out"), *options) == 0
    drawn = segkit.gan.load(weights).sample([3, 7], truncation_psi=0.5)
    for seed, image in zip((3, 7), drawn, strict=True):
        np.testing.assert_array_equal(image, images.read_image(tmp_path / "out" / f"seed{seed:04d}.png"))


def test_images_have_the_networks_resolution(weights: Path) -> None:
    model = segkit.gan.load(str(weights))
    assert model.sample(range(2)).shape == (2, model.resolution, model.resolution, 3)


@pytest.mark.parametrize(
    "arguments", [{"seeds": []}, {"seeds": [-1]}, {"seeds": 3}, {"seeds": ["3"]}, {"seeds": [0], "noise_mode": "loud"}]
)
def test_wrong_arguments_are_refused(weights: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        segkit.gan.load(weights).sample(**arguments)


def test_a_folder_without_a_gan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        segkit.gan.load(tmp_path)
    with pytest.raises(RequestError):
        segkit.gan.load(None)


def test_a_device_that_does_not_exist_is_refused(weights: Path) -> None:
    with pytest.raises(RequestError, match="device 'gpu' cannot be used"):
        segkit.gan.load(weights, device="gpu")
