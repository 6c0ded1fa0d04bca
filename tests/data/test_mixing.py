import pytest

from segkit.core.errors import ConfigError
from segkit.data.mixing import build_pools
from segkit.data.sampling import BatchSampler
from segkit.data.settings import TrainingDataSettings


def counts(num_real, given, replaced=False, **settings):
    """Real and synthetic images that an epoch draws, and how many different ones there are to draw."""
    found = build_pools(TrainingDataSettings(**settings), num_real, given, replaced)
    real = [pool for pool in found if max(pool.indices) < num_real]
    synthetic = [pool for pool in found if min(pool.indices) >= num_real]
    assert len(real) + len(synthetic) == len(found)
    return tuple(
        (sum(pool.per_epoch for pool in part), sum(len(pool.indices) for pool in part)) for part in (real, synthetic)
    )


def test_real_data_are_each_real_image_once():
    assert counts(12, 100) == ((12, 12), (0, 0))
    assert counts(12, 0) == ((12, 12), (0, 0))


def test_synthetic_data_are_each_synthetic_image_once():
    assert counts(12, 100, data="synthetic") == ((0, 0), (100, 100))
    assert counts(12, 100, data="synthetic", num_synthetic=30) == ((0, 0), (30, 30))


@pytest.mark.parametrize(
    ("share", "most"), [(0.5, 12), (0.25, 4), (0.75, 36), (0.8, 48), (0.1, 1), (0.9, 100), (0.2, 3), (0.6, 18)]
)
def test_mixed_data_are_all_real_images_and_synthetic_ones_up_to_a_share(share, most):
    (real, _), (synthetic, to_draw) = counts(12, 100, data="mixed", synthetic_share=share)
    assert (real, synthetic, to_draw) == (12, most, 100)
    assert synthetic / (real + synthetic) <= share + 1e-9
    assert synthetic == 100 or (synthetic + 1) / (real + synthetic + 1) > share


def test_mixed_data_cannot_hold_more_synthetic_images_than_there_are():
    assert counts(12, 5, data="mixed") == ((12, 12), (5, 5))
    assert counts(12, 100, data="mixed", num_synthetic=7) == ((12, 12), (7, 7))


def test_the_first_synthetic_images_are_used():
    _, synthetic = build_pools(TrainingDataSettings(data="mixed", num_synthetic=7), 12, 100)
    assert synthetic.indices == tuple(range(12, 19))


@pytest.mark.parametrize(
    "settings",
    [
        {"data": "synthetic", "num_synthetic": 30},
        {"data": "mixed", "num_synthetic": 30},
        {"data": "mixed", "num_synthetic": 30, "synthetic_share": 0.3},
        {"data": "mixed", "num_synthetic": 30, "images_per_epoch": 50},
        {"data": "real", "num_synthetic": 30},
    ],
)
def test_a_control_takes_as_many_steps_over_real_images_only(settings):
    student = build_pools(TrainingDataSettings(**settings), 8, 30)
    (control,) = build_pools(TrainingDataSettings(**settings), 8, 30, synthetic_replaced=True)
    assert control.indices == tuple(range(8))
    lengths = {len(BatchSampler(found, 3, seed=0)) for found in (student, (control,))}
    assert len(lengths) == 1
    assert control.per_epoch == sum(pool.per_epoch for pool in student)


def test_the_length_of_an_epoch_can_be_set_and_keeps_the_mixture():
    assert counts(12, 100, images_per_epoch=50) == ((50, 12), (0, 0))
    assert counts(12, 100, images_per_epoch=5) == ((5, 12), (0, 0))
    assert counts(12, 100, data="mixed", images_per_epoch=50) == ((25, 12), (25, 100))
    assert counts(12, 4, data="mixed", images_per_epoch=100) == ((75, 12), (25, 4))


@pytest.mark.parametrize(
    ("num_real", "given", "settings", "message"),
    [
        (12, 0, {"data": "synthetic"}, "synthetic images"),
        (12, 0, {"data": "mixed"}, "synthetic images"),
        (0, 10, {"data": "mixed"}, "real training images"),
        (0, 10, {"data": "real"}, "real training images"),
        (12, 10, {"data": "mixed", "num_synthetic": 11}, "11 .*10 "),
        (3, 10, {"data": "mixed", "synthetic_share": 0.1}, "synthetic_share: 0.1 of 3"),
        (12, 1, {"data": "mixed", "images_per_epoch": 5}, "synthetic_share"),
    ],
)
def test_missing_images_are_an_error(num_real, given, settings, message):
    with pytest.raises(ConfigError, match=message):
        build_pools(TrainingDataSettings(**settings), num_real, given)


def test_a_control_without_real_images_is_refused():
    with pytest.raises(ConfigError, match="real training images"):
        build_pools(TrainingDataSettings(data="synthetic", num_synthetic=3), 0, 3, synthetic_replaced=True)
