import pytest

from gan.training import task as training
from gan.training.sharing import num_passes, obstacle
from gan.training.task import StyleGAN2Task
from segkit.core.errors import RequestError
from tests.gan.train_together import tiny


@pytest.mark.parametrize(
    ("changes", "num_devices", "expected"),
    [
        ({}, 1, None),
        ({"batch_size": 16}, 2, None),
        ({}, 3, "batch_size 4 cannot be shared evenly by 3 devices"),
        ({"mbstd_group_size": 1}, 4, "the path-length batch of 2 (batch_size / pl_batch_shrink) cannot be shared"),
        ({"mbstd_group_size": 1, "pl_weight": 0}, 4, None),
        ({}, 2, "mbstd_group_size 4 does not divide the 2 images that each of 2 devices takes at once; lower it"),
        ({"batch_size": 12, "images_per_pass": 8}, 1, "mbstd_group_size 4 does not divide the 6 images"),
    ],
)
def test_devices_that_cannot_train_together_are_told_what_is_in_the_way(changes, num_devices, expected):
    found = obstacle(tiny(**changes), num_devices)
    assert found is None if expected is None else found.startswith(expected)


def test_a_training_on_devices_that_cannot_share_it_is_refused(monkeypatch):
    monkeypatch.setattr(training, "world_size", lambda: 3)
    with pytest.raises(RequestError, match="gan: batch_size 4 cannot be shared evenly by 3 devices"):
        StyleGAN2Task(tiny()).setup("fit")


@pytest.mark.parametrize(("share", "most", "expected"), [(8, None, 1), (8, 8, 1), (8, 3, 4), (12, 8, 2), (7, 2, 7)])
def test_a_share_goes_through_in_the_fewest_equal_passes_that_fit(share, most, expected):
    assert num_passes(tiny(mbstd_group_size=1, images_per_pass=most), share) == expected
