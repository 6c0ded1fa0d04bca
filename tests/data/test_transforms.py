import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from segkit.core.errors import ConfigError
from segkit.data import transforms
from segkit.data.crops import Crops

PRESETS = ("none", "flips", "symmetries", "rotations", "paper", "strong", "photo", "camera")


def _sample(height: int = 60, width: int = 50) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    fov = np.hypot(y - height / 2, x - width / 2) < 0.45 * min(height, width)
    return image, (rng.random((1, height, width)) < 0.3).astype(np.float32), fov


def _digest_program(seeds: str) -> str:
    return f"""
import hashlib, sys, numpy as np
from segkit.data import transforms
from segkit.data.crops import Crops
rng = np.random.default_rng(0)
image = rng.integers(0, 256, (60, 50, 3), dtype=np.uint8)
probs = rng.random((60, 50), dtype=np.float32)
fov = probs > 0.1
found = {{}}
for seed in {seeds}:
    total = hashlib.sha256()
    for preset in ("flips", "paper", "strong", "photo", "camera"):
        for crop in (None, 24):
            for array in transforms.build(preset, crop and Crops(crop))(image, probs[None], fov, probs, seed):
                total.update(np.ascontiguousarray(array).tobytes())
    found[seed] = total.hexdigest()
sys.stdout.write(repr(sorted(found.items())))
"""


def test_the_same_seed_gives_the_same_bytes_in_any_process_and_order(capsys: pytest.CaptureFixture[str]) -> None:
    there = subprocess.run(
        [sys.executable, "-c", _digest_program("(1, 2, 3)")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    ).stdout
    exec(_digest_program("(3, 1, 2)"), {})
    here = capsys.readouterr().out
    assert here == there
    assert len({digest for _, digest in eval(here)}) == 3


@pytest.mark.parametrize("preset", PRESETS)
def test_calls_in_between_and_global_random_states_change_nothing(preset: str) -> None:
    image, target, fov = _sample()
    transform = transforms.build(preset, Crops(32))
    first = transform(image, target, fov, None, 5)
    np.random.seed(1)
    transform(image, target, fov, None, 6)
    for a, b in zip(first[:3], transform(image, target, fov, None, 5)[:3], strict=True):
        np.testing.assert_array_equal(a, b)


def test_none_without_a_crop_changes_nothing() -> None:
    image, target, fov = _sample()
    moved = transforms.build("none")(image, target, fov, None, 3)
    np.testing.assert_array_equal(moved.image, image)
    np.testing.assert_array_equal(moved.target, target)
    np.testing.assert_array_equal(moved.region, fov)
    assert moved.confidence is None


def test_both_flips_are_drawn_independently_and_move_everything_alike() -> None:
    image, target, fov = _sample()
    confidence = np.random.default_rng(1).random(fov.shape, dtype=np.float32)
    seen = []
    for seed in range(200):
        moved = transforms.build("flips")(image, target, fov, confidence, seed)
        (kind,) = [
            (down, across)
            for down in (1, -1)
            for across in (1, -1)
            if np.array_equal(moved.image, image[::down, ::across])
        ]
        seen.append(kind)
        for after, before in ((moved.target[0], target[0]), (moved.region, fov), (moved.confidence, confidence)):
            np.testing.assert_array_equal(after, before[:: kind[0], :: kind[1]])
    for kind in set(seen):
        assert 30 <= seen.count(kind) <= 70  # 50 expected
    assert len(set(seen)) == 4


@pytest.mark.parametrize("preset", ["rotations", "paper", "strong", "photo", "camera"])
@pytest.mark.parametrize("crop_size", [None, 32])
def test_image_and_maps_move_together(preset: str, crop_size: int | None) -> None:
    """A picture that shows its own label must go on showing it."""
    y, x = np.mgrid[:96, :90]
    shape = (np.hypot(y - 30, x - 52) < 16) | (np.abs(y - x - 8) < 4)
    image = np.where(shape[..., None], np.uint8(40), np.uint8(200)).repeat(3, axis=2)
    fov = np.ones(shape.shape, dtype=bool)
    target = shape[None].astype(np.float32)
    for seed in range(12):
        moved = transforms.build(preset, crop_size and Crops(crop_size))(image, target, fov, target[0], seed)
        np.testing.assert_array_equal(moved.target[0], moved.confidence)
        inside = moved.region
        gray = moved.image.mean(axis=2)
        if 0.05 < moved.target[0][inside].mean() < 0.95 and np.ptp(gray[inside]) > 40:
            dark = gray < (np.percentile(gray[inside], 2) + np.percentile(gray[inside], 98)) / 2
            assert (dark == (moved.target[0] == 1))[inside].mean() > 0.93, seed


@pytest.mark.parametrize("preset", PRESETS)
def test_hard_labels_stay_hard_and_soft_ones_stay_in_range(preset: str) -> None:
    image, target, fov = _sample()
    probs = np.random.default_rng(2).random(fov.shape, dtype=np.float32)
    for seed in range(8):
        hard = transforms.build(preset, Crops(32))(image, target, fov, None, seed)
        assert set(np.unique(hard.target)) <= {0, 1}
        soft = transforms.build(preset, Crops(32))(image, probs[None], fov, probs, seed)
        assert soft.target.min() >= 0
        assert soft.target.max() <= 1
        assert soft.target.dtype == hard.target.dtype == np.float32
        assert soft.image.dtype == np.uint8
        assert soft.region.dtype == bool
        assert soft.confidence is not None


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("preset", ["rotations", "paper", "strong", "photo", "camera"])
def test_pixels_from_outside_the_picture_are_no_field_of_view(preset: str, soft: bool) -> None:
    image = np.full((40, 40, 3), 255, dtype=np.uint8)
    everywhere = np.ones((1, 40, 40), dtype=np.float32) * (0.5 if soft else 1)
    marked = 0
    for seed in range(30):
        moved = transforms.build(preset)(image, everywhere, np.ones((40, 40), dtype=bool), None, seed)
        assert (moved.target[0][moved.region] > 0.49).all()
        marked += not moved.region.all()
    assert marked > 5


def test_paper_rotates_recolours_or_leaves_each_a_third_of_the_time() -> None:
    image = np.random.default_rng(0).integers(60, 120, (40, 40, 3), dtype=np.uint8)
    fov = np.ones((40, 40), dtype=bool)
    kinds = []
    for seed in range(150):
        moved = transforms.build("paper")(image, fov[None].astype(np.float32), fov, None, seed)
        flips = [image[::down, ::across] for down in (1, -1) for across in (1, -1)]
        if any(np.array_equal(moved.image, flip) for flip in flips):
            kinds.append("left")
        else:
            kinds.append("recoloured" if moved.region.all() else "rotated")
    assert all(30 <= kinds.count(kind) <= 70 for kind in ("left", "recoloured", "rotated")), kinds


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("height", "width"), [(60, 50), (20, 50), (20, 18)])
def test_crops_have_their_size_even_where_the_picture_is_smaller(preset: str, height: int, width: int) -> None:
    image, target, fov = _sample(height, width)
    for seed in range(4):
        moved = transforms.build(preset, Crops(32))(image, target, fov, None, seed)
        assert moved.image.shape == (32, 32, 3)
        assert moved.target.shape == (1, 32, 32)
        assert moved.region.shape == (32, 32)


def test_a_padded_picture_is_whole_and_its_surround_is_no_field_of_view() -> None:
    image, target, fov = _sample(20, 18)
    moved = transforms.build("none", Crops(32))(image, target, np.ones_like(fov), None, 0)
    assert moved.region.sum() == 20 * 18
    np.testing.assert_array_equal(moved.image[moved.region].reshape(20, 18, 3), image)


def test_a_turned_crop_shows_what_the_picture_has_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far from the border a crop has no blank corners, whatever its angle, scale and shear."""
    monkeypatch.setattr(Crops, "corner", lambda *_: (100, 120))
    image = np.full((260, 280, 3), 100, dtype=np.uint8)
    whole = np.ones((260, 280), dtype=bool)
    for preset in ("rotations", "paper", "strong", "photo", "camera"):
        for seed in range(60):
            assert transforms.build(preset, Crops(64))(
                image, whole[None].astype(np.float32), whole, None, seed
            ).region.all()


def test_crops_lie_in_the_field_of_view_and_anywhere_in_it() -> None:
    image, target, fov = _sample(120, 100)
    shares, corners = [], set()
    for seed in range(60):
        shares.append(transforms.build("none", Crops(40))(image, target, fov, None, seed).region.mean())
        corners.add(Crops(40).corner(target, fov, np.random.default_rng(seed)))
    assert min(shares) >= 0.5
    assert len(corners) > 50


def test_a_transform_can_be_sent_to_a_worker() -> None:
    image, target, fov = _sample()
    transform = transforms.build("strong", Crops(32))
    transform(image, target, fov, None, 1)
    sent = pickle.loads(pickle.dumps(transform))
    np.testing.assert_array_equal(sent(image, target, fov, None, 2).image, transform(image, target, fov, None, 2).image)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="there are: none, flips, symmetries"):
        transforms.build("heavy")


def _one_hot(seed: int = 3) -> np.ndarray:
    indices = np.random.default_rng(seed).integers(0, 3, (60, 50))
    return (indices == np.arange(3)[:, None, None]).astype(np.float32)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("crop_size", [None, 32])
def test_each_class_moves_as_if_it_were_the_only_one(preset: str, crop_size: int | None) -> None:
    image, _, fov = _sample()
    target, confidence = _one_hot(), np.random.default_rng(4).random(fov.shape, dtype=np.float32)
    transform = transforms.build(preset, crop_size and Crops(crop_size))
    for seed in range(6):
        together = transform(image, target, fov, confidence, seed)
        for index in range(3):
            alone = transform(image, target[index : index + 1], fov, confidence, seed)
            np.testing.assert_array_equal(together.target[index], alone.target[0])
            np.testing.assert_array_equal(together.image, alone.image)
            np.testing.assert_array_equal(together.region, alone.region)
            np.testing.assert_array_equal(together.confidence, alone.confidence)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_pixel_inside_the_region_belongs_to_one_class_before_and_after(preset: str) -> None:
    image, _, fov = _sample()
    everywhere = np.ones_like(fov)
    for seed in range(8):
        moved = transforms.build(preset, Crops(32))(image, _one_hot(), everywhere, None, seed)
        assert moved.target.shape == (3, 32, 32)
        assert set(np.unique(moved.target)) == {0, 1}
        assert (moved.target.sum(axis=0)[moved.region] == 1).all()


def test_soft_probabilities_of_several_classes_still_sum_to_one_inside_the_region() -> None:
    image, _, fov = _sample()
    probs = np.random.default_rng(5).dirichlet(np.ones(4), fov.shape).transpose(2, 0, 1).astype(np.float32)
    for seed in range(8):
        moved = transforms.build("strong")(image, probs, np.ones_like(fov), None, seed)
        assert moved.target.min() >= 0
        assert moved.target.sum(axis=0)[moved.region] == pytest.approx(1, abs=0.011)
