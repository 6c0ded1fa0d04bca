import numpy as np
import pytest

from segkit.core.config import validate
from segkit.core.errors import ConfigError
from segkit.data.crops import Crops, cut
from segkit.data.mixing import build_pools
from segkit.data.settings import TrainingDataSettings


def disc(height=120, width=100, radius=45):
    y, x = np.mgrid[:height, :width]
    return np.hypot(y - height / 2, x - width / 2) < radius


def target_of(*pixels, num_classes=1, height=120, width=100):
    target = np.zeros((num_classes, height, width), np.float32)
    for row, column in pixels:
        target[-1, row, column] = 1
    return target


def corners(crops, target, region, count=300):
    return np.array([crops.corner(target, region, np.random.default_rng(seed)) for seed in range(count)])


@pytest.mark.parametrize("num_classes", [1, 3])
def test_a_vessel_aware_crop_is_centred_on_a_positive_pixel_of_the_region(num_classes):
    pixels = [(50, 40), (60, 70), (5, 5)]
    target = target_of(*pixels, num_classes=num_classes)
    if num_classes > 1:
        target[0] = 1 - target[-1]  # the background covers most, and does not count
    centres = {tuple(corner + 8) for corner in corners(Crops(16, positive_prob=1), target, disc())}
    assert centres == {(50, 40), (60, 70)}


def test_positive_pixels_are_drawn_with_equal_chances():
    target = target_of(*[(60, column) for column in range(40, 60)])
    columns = corners(Crops(16, positive_prob=1), target, disc(), 1000)[:, 1] + 8
    counts = np.bincount(columns)[40:60]
    assert counts.sum() == 1000
    assert (abs(counts - 50) < 4 * np.sqrt(50)).all()


def test_a_crop_is_vessel_aware_with_its_probability():
    target = target_of((60, 50))
    centred = (corners(Crops(16, positive_prob=0.3), target, disc(), 1000) == (52, 42)).all(axis=1)
    assert centred.mean() == pytest.approx(0.3, abs=0.05)


def test_a_crop_near_the_border_is_moved_into_the_picture():
    everywhere = np.ones((120, 100), bool)
    for pixel, corner in (((2, 50), (0, 42)), ((119, 99), (104, 84)), ((60, 0), (52, 0))):
        assert (corners(Crops(16, positive_prob=1), target_of(pixel), everywhere, 5) == corner).all()


def test_without_a_positive_pixel_the_crop_lies_anywhere():
    places = corners(Crops(16, positive_prob=1), target_of((0, 0)), disc())
    np.testing.assert_array_equal(places[:, 0] < 120 - 15, True)
    assert len({tuple(place) for place in places}) > 250


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_crops_lie_as_far_inside_the_region_as_asked(share):
    region = disc()
    inside = [cut(region, *corner, 20).mean() for corner in corners(Crops(20, region_share=share), target_of(), region)]
    assert min(inside) >= share
    assert (min(inside) < 0.1) == (share == 0)


def test_unbiased_crops_cover_the_image_evenly():
    places = corners(Crops(16, region_share=0), target_of(), disc(), 2000)
    for axis, side in ((0, 105), (1, 85)):
        counts = np.histogram(places[:, axis], bins=5, range=(0, side))[0]
        assert (abs(counts - 400) < 5 * np.sqrt(400)).all()


def test_a_cut_is_zero_where_it_leaves_the_picture():
    array = np.arange(1, 13).reshape(3, 4)
    np.testing.assert_array_equal(cut(array, -1, 2, 3), [[0, 0, 0], [3, 4, 0], [7, 8, 0]])
    np.testing.assert_array_equal(cut(array, 1, 0, 2), [[5, 6], [9, 10]])
    assert cut(np.ones((3, 4, 2)), 2, 3, 5).shape == (5, 5, 2)


def test_an_epoch_takes_so_many_crops_of_each_image():
    feed = TrainingDataSettings(data="mixed", synthetic_share=0.25, crop_size=16, crops_per_image=30)
    assert [pool.per_epoch for pool in build_pools(feed, 6, 10)] == [180, 60]


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop_positive_prob": 0.5},
        {"crops_per_image": 3},
        {"crop_size": 32, "crops_per_image": 3, "images_per_epoch": 5},
        {"crop_size": 32, "crop_positive_prob": 1.5},
    ],
)
def test_crop_settings_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ConfigError):
        validate(TrainingDataSettings, wrong, "here")
