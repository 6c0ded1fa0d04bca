from pathlib import Path

import numpy as np
import pytest

from segkit.core import images
from segkit.data import phantom, readers
from segkit.data.fov import estimate_fov


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def _disc(height: int, width: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.asarray(np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) <= radius)


@pytest.fixture(scope="module")
def sample() -> phantom.PhantomSample:
    return phantom.draw(1, 200, 180)


def test_the_field_of_view_of_a_phantom_is_found(sample: phantom.PhantomSample) -> None:
    assert _iou(estimate_fov(sample.image), sample.fov) > 0.98


@pytest.mark.parametrize("tint", [(1.0, 0.12, 0.08), (0.15, 0.15, 0.15), (0.5, 1.0, 0.9), (1.0, 0.0, 0.0)])
def test_reddish_dark_and_oddly_coloured_retinae_count_as_lit(
    sample: phantom.PhantomSample, tint: tuple[float, float, float]
) -> None:
    tinted = (sample.image * np.array(tint)).astype(np.uint8)
    assert _iou(estimate_fov(tinted), sample.fov) > 0.97


def test_a_lifted_black_level_and_noise_do_not_matter(sample: phantom.PhantomSample) -> None:
    noise = np.random.default_rng(0).normal(30, 6, sample.image.shape)
    noisy = np.clip(sample.image + noise, 0, 255).astype(np.uint8)
    assert _iou(estimate_fov(noisy), sample.fov) > 0.97


def test_a_disc_cut_by_the_frame_keeps_its_straight_sides() -> None:
    fov = _disc(120, 180, 80)  # wider than the picture is high
    image = np.where(fov[..., None], np.array([180, 90, 60]), 5).astype(np.uint8)
    found = estimate_fov(image)
    assert _iou(found, fov) > 0.98
    assert found[0, 60:120].all()


def test_without_a_dark_border_everything_is_field_of_view() -> None:
    rng = np.random.default_rng(0)
    assert estimate_fov(rng.integers(60, 200, (40, 50, 3), dtype=np.uint8)).all()
    assert estimate_fov(np.zeros((40, 50, 3), dtype=np.uint8)).all()


def test_a_label_in_the_corner_and_a_dark_spot_inside_change_nothing() -> None:
    fov = _disc(160, 160, 70)
    image = np.where(fov[..., None], np.array([180, 90, 60]), 3).astype(np.uint8)
    plain = estimate_fov(image)
    image[4:12, 4:30] = 220
    image[70:80, 60:75] = 0
    np.testing.assert_array_equal(estimate_fov(image), plain)


@pytest.mark.slow
def test_every_field_of_view_of_drive_is_found(drive_dir: Path) -> None:
    overlaps = {
        row.name: _iou(estimate_fov(images.read_image(*row.image)), images.read_mask(*row.region))
        for row in readers.open_dataset(f"drive:{drive_dir}").rows
        if row.region is not None
    }
    assert len(overlaps) == 40
    assert min(overlaps.values()) >= 0.97, overlaps
