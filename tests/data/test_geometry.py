import numpy as np
import pytest

from segkit.data import phantom
from segkit.data.geometry import Geometry
from segkit.data.settings import GeometrySettings
from tests.reference import data_geometry


def _sample(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height * width)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, rng.random((height, width)) < 0.3, rng.random((height, width), dtype=np.float32)


@pytest.mark.parametrize(("height", "width"), [(584, 565), (16, 16), (17, 31), (1, 5)])
def test_padding_is_undone_bit_for_bit(height: int, width: int) -> None:
    image, vessels, probs = _sample(height, width)
    plan = Geometry.pad(height, width, 16)
    tall, wide = plan.size
    assert tall % 16 == wide % 16 == 0
    assert 0 <= tall - height < 16
    assert 0 <= wide - width < 16
    np.testing.assert_array_equal(plan.restore_probs(plan.probs(probs)), probs)
    np.testing.assert_array_equal(plan.crop(plan.label(vessels)), vessels)
    np.testing.assert_array_equal(plan.crop(plan.image(image).transpose(2, 0, 1)).transpose(1, 2, 0), image)


def test_padding_is_centred_and_as_torch_orders_it() -> None:
    plan = Geometry.pad(584, 565, 16)
    assert plan.size == (592, 576)
    assert plan.padding == (5, 6, 4, 4)
    assert (plan.image(np.full((584, 565, 3), 9, dtype=np.uint8)) > 0).all(axis=2).sum() == 584 * 565


def test_a_multiple_of_the_stride_stays_as_it_is() -> None:
    image, vessels, _ = _sample(32, 48)
    plan = Geometry.pad(32, 48, 16)
    assert plan.padding == (0, 0, 0, 0)
    assert plan.image(image) is image
    assert plan.label(vessels) is vessels


def test_padding_is_never_field_of_view() -> None:
    plan = Geometry.pad(20, 21, 16)
    fov = plan.region(np.ones((20, 21), dtype=bool))
    assert fov.sum() == 20 * 21
    assert not fov[: plan.top].any()


def test_padding_holds_no_vessel() -> None:
    _, vessels, _ = _sample(20, 21)
    assert Geometry.pad(20, 21, 16).label(vessels).sum() == vessels.sum()


def test_shrunk_labels_are_the_area_cut_at_half() -> None:
    _, vessels, probs = _sample(50, 41)
    plan = Geometry.resize(50, 41, 23, 19)
    area = data_geometry.area_resize(vessels.astype(float), 23, 19)
    decided = np.abs(area - 0.5) > 1e-3
    np.testing.assert_array_equal(plan.label(vessels)[decided], (area >= 0.5)[decided])
    np.testing.assert_allclose(plan.probs(probs), data_geometry.area_resize(probs, 23, 19), atol=1e-5)


@pytest.mark.parametrize("size", [(512, 512), (592, 592), (700, 677), (1024, 1024), (448, 448)])
def test_resizing_labels_keeps_the_vessels(size: tuple[int, int]) -> None:
    """A known seed resized labels by bicubic and kept exact 255s only: 39 % of the vessel pixels were lost."""
    vessels = phantom.draw(0).vessels
    plan = Geometry.resize(*vessels.shape, *size)
    assert plan.label(vessels).mean() == pytest.approx(vessels.mean(), rel=0.04)


@pytest.mark.parametrize("size", [(512, 512), (700, 677)])
def test_probabilities_scaled_and_scaled_back_give_the_vessels_again(size: tuple[int, int]) -> None:
    vessels = phantom.draw(0).vessels
    plan = Geometry.resize(*vessels.shape, *size)
    again = plan.restore_probs(plan.probs(vessels.astype(np.float32)))
    assert again.shape == vessels.shape
    assert again.min() >= 0
    assert again.max() <= 1
    prediction = again >= 0.5
    assert 2 * (prediction & vessels).sum() / (prediction.sum() + vessels.sum()) > 0.93


def test_an_image_keeps_its_mean_and_its_gray() -> None:
    image, _, _ = _sample(30, 40)
    for size in ((15, 10), (60, 90)):
        scaled = Geometry.resize(30, 40, *size).image(image)
        assert scaled.shape == (*size, 3)
        assert scaled.mean(axis=(0, 1)) == pytest.approx(image.mean(axis=(0, 1)), rel=0.03)
        assert (Geometry.resize(30, 40, *size).image(np.full_like(image, 77)) == 77).all()


def test_the_settings_choose_the_plan() -> None:
    padded = Geometry.plan(GeometrySettings(), 30, 40, stride=8)
    assert padded == Geometry.pad(30, 40, 8)
    square = Geometry.plan(GeometrySettings(size=592), 584, 565, stride=8)
    assert (square.size, square.top, square.left, square.scaled) == ((592, 592), 4, 13, False)
    assert Geometry.plan(GeometrySettings(size=32), 30, 41, stride=8).size == (32, 48)
    assert Geometry.plan(GeometrySettings(mode="resize", size=24), 30, 40, stride=8).size == (24, 24)


def test_batches_go_back_together() -> None:
    probs = np.random.default_rng(0).random((3, 2, 24, 26), dtype=np.float32)
    plan = Geometry.resize(31, 33, 24, 26)
    both = plan.restore_probs(probs)
    assert both.shape == (3, 2, 31, 33)
    np.testing.assert_array_equal(both[2, 1], plan.restore_probs(probs[2, 1]))


def test_arrays_of_another_size_are_refused() -> None:
    plan = Geometry.pad(20, 21, 16)
    with pytest.raises(ValueError, match=r"20x21.*21x20"):
        plan.label(np.zeros((21, 20), dtype=bool))
    with pytest.raises(ValueError, match="32x32"):
        plan.restore_probs(np.zeros((20, 21), dtype=np.float32))
    with pytest.raises(ValueError, match="not a geometry"):
        Geometry.resize(0, 3, 4, 4)


def test_a_shrunk_class_map_holds_the_class_that_covers_most_of_each_pixel() -> None:
    indices = np.random.default_rng(0).integers(0, 3, (50, 41))
    maps = (indices == np.arange(3)[:, None, None]).astype(np.float32)
    shrunk = Geometry.resize(50, 41, 23, 19).classes(maps)
    area = np.stack([data_geometry.area_resize(one.astype(float), 23, 19) for one in maps])
    first, second = np.sort(area, axis=0)[[-1, -2]]
    decided = first - second > 1e-3
    assert decided.mean() > 0.9
    np.testing.assert_array_equal(shrunk.argmax(axis=0)[decided], area.argmax(axis=0)[decided])
    assert set(np.unique(shrunk)) == {0, 1}
    assert (shrunk.sum(axis=0) == 1).all()


def test_resizing_keeps_the_share_of_every_class() -> None:
    labels = phantom.draw(0).labels
    maps = phantom.CLASSES.target(labels)
    for size in (448, 592, 700):
        resized = Geometry.resize(*labels.shape, size, size).classes(maps)
        assert resized.mean(axis=(1, 2)) == pytest.approx(maps.mean(axis=(1, 2)), rel=0.05)


def test_padded_class_maps_are_as_they_were_and_padding_belongs_to_no_class() -> None:
    indices = np.random.default_rng(1).integers(0, 3, (20, 21))
    maps = (indices == np.arange(3)[:, None, None]).astype(np.float32)
    plan = Geometry.pad(20, 21, 16)
    padded = plan.classes(maps)
    assert padded.shape == (3, 32, 32)
    np.testing.assert_array_equal(plan.crop(padded), maps)
    assert padded.sum() == 20 * 21


def test_where_most_of_a_pixel_belongs_to_no_class_the_new_pixel_belongs_to_none() -> None:
    maps = np.zeros((2, 4, 4), np.float32)
    maps[0, :2, :2] = 1  # all of the first new pixel
    maps[1, 0, 2] = 1  # a quarter of the second
    maps[0, 2, 0] = maps[1, 3, 0] = 1  # half of the third, a quarter for each class
    resized = Geometry.resize(4, 4, 2, 2).classes(maps)
    np.testing.assert_array_equal(resized.sum(axis=0), [[1, 0], [1, 0]])
