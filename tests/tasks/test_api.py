"""The Python API gives the numbers of the command line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import segkit
from segkit.core import images
from segkit.core.errors import RequestError, WeightsError
from segkit.data.settings import GeometrySettings
from segkit.models import build_model
from segkit.models.settings import UNetSettings
from segkit.tasks.weights import save_network
from tests.pipelines.tiny import segkit_here


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    settings = UNetSettings(widths=(4, 8))
    network = build_model(settings)
    save_network(tmp_path / "model", network.state_dict(), settings, GeometrySettings(), 0.43, "val-best-dice")
    return tmp_path / "model"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    image = rng.integers(60, 255, (61, 47, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:61, :47]
    image[(rows - 30) ** 2 + (columns - 23) ** 2 > 22**2] = 0
    images.write_image(tmp_path / "photo.png", image)
    return tmp_path / "photo.png"


@pytest.mark.parametrize("options", [{}, {"tta": "d4"}, {"threshold": 0.6}])
def test_python_and_the_command_line_give_the_same_numbers(
    folder: Path, photo: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    flags = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    assert segkit_here("predict", "--weights", str(folder), "--out", str(tmp_path / "out"), *flags, str(photo)) == 0
    result = segkit.load(folder).predict(photo, **options)
    np.testing.assert_array_equal(result.probs, images.read_probs(tmp_path / "out" / "probs" / "photo.png"))
    np.testing.assert_array_equal(result.mask, images.read_mask(tmp_path / "out" / "binary" / "photo.png"))
    assert not result.probs[~result.region].any()
    assert result.region.any()
    assert not result.region.all()


def test_saved_files_hold_the_prediction(folder: Path, photo: Path, tmp_path: Path) -> None:
    result = segkit.load(str(folder)).predict(str(photo))
    paths = result.save(tmp_path / "mine", "left eye")
    np.testing.assert_array_equal(images.read_probs(paths["probs"]), result.probs)
    np.testing.assert_array_equal(images.read_mask(paths["binary"]), result.mask)
    assert "probs (61, 47), mask (61, 47)" in repr(result)
    assert len(repr(result)) < 150
    picture = images.read_image(paths["overlay"])
    np.testing.assert_array_equal((picture == segkit.load(folder).classes.palette[0]).all(-1), result.mask)


def test_an_array_is_predicted_like_its_file(folder: Path, photo: Path) -> None:
    model = segkit.load(folder)
    pixels = images.read_image(photo)
    np.testing.assert_array_equal(model.predict(pixels).probs, model.predict(photo).probs)
    gray = pixels[..., 1]
    np.testing.assert_array_equal(model.predict(gray).probs, model.predict(np.repeat(gray[..., None], 3, axis=2)).probs)


def test_a_given_region_replaces_the_estimate(folder: Path, photo: Path) -> None:
    region = np.zeros((61, 47), bool)
    region[10:20] = True
    result = segkit.load(folder).predict(photo, region=region)
    assert not result.probs[~region].any()
    assert (result.probs[region] > 0).all()


def test_no_gradient_is_recorded_and_threads_are_left_as_they_were(folder: Path, photo: Path) -> None:
    before = torch.get_num_threads()
    model = segkit.load(folder)
    model.predict(photo)
    assert torch.get_num_threads() == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros(8, np.uint8),
    ],
)
def test_wrong_arrays_are_refused(folder: Path, image: np.ndarray) -> None:
    with pytest.raises(RequestError):
        segkit.load(folder).predict(image)


@pytest.mark.parametrize(
    "options",
    [
        {"tta": "all"},
        {"tile": 3},
        {"threshold": 1.5},
        {"threshold": "high"},
        {"region": np.ones((3, 3), bool)},
        {"region": np.ones((61, 47))},
    ],
)
def test_wrong_arguments_are_refused(folder: Path, photo: Path, options: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        segkit.load(folder).predict(photo, **options)


def test_a_device_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(RequestError, match="device 'gpu' cannot be used"):
        segkit.load(folder, device="gpu")


@pytest.mark.parametrize("name", ["", "..", "../other", "/tmp/photo"])
def test_a_name_outside_the_folder_is_refused(folder: Path, photo: Path, tmp_path: Path, name: str) -> None:
    result = segkit.load(folder).predict(photo)
    with pytest.raises(RequestError, match="name is"):
        result.save(tmp_path / "mine", name)
    assert not (tmp_path / "mine").exists()


def test_a_folder_without_a_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with pytest.raises(WeightsError):
        segkit.load(tmp_path)
    monkeypatch.chdir(folder)
    with pytest.raises(WeightsError, match="there is no model ''"):  # and not that of the working folder
        segkit.load("")
    assert segkit_here("models", "") == 2
    with pytest.raises(RequestError):
        segkit.load(None)  # type: ignore[arg-type]


def test_importing_segkit_does_not_import_torch() -> None:
    code = "import segkit, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError):
        _ = segkit.no_such_name
    assert {"load", "evaluate"} <= set(dir(segkit))
