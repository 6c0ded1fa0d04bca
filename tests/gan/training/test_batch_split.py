import pytest

from gan.training import task as training
from gan.training.batch_split import device_count_error, num_passes
from gan.training.task import StyleGAN2Task
from segkit.core.errors import RequestError
from tests.gan.train_together import tiny


@pytest.mark.parametrize(
    ("changes", "num_devices", "expected"),
    [
        ({}, 1, None),
        ({"batch_size": 16}, 2, None),
        ({}, 3, "batch_size"),
        ({"mbstd_group_size": 1}, 4, "the path-length batch of 2"),
        ({"mbstd_group_size": 1, "pl_weight": 0}, 4, None),
        ({}, 2, "mbstd_group_size"),
        ({"batch_size": 12, "images_per_pass": 8}, 1, "mbstd_group_size"),
    ],
)
def test_a_batch_that_cannot_be_split_names_its_setting(changes, num_devices, expected):
    problem = device_count_error(tiny(**changes), num_devices)
    assert problem is None if expected is None else problem.startswith(expected)


def test_a_training_on_a_wrong_number_of_devices_is_refused(monkeypatch):
    monkeypatch.setattr(training, "world_size", lambda: 3)
    with pytest.raises(RequestError):
        StyleGAN2Task(tiny()).setup("fit")


@pytest.mark.parametrize(("share", "maximum", "expected"), [(8, None, 1), (8, 8, 1), (8, 3, 4), (12, 8, 2), (7, 2, 7)])
def test_a_share_takes_the_fewest_equal_passes_that_fit(share, maximum, expected):
    assert num_passes(tiny(mbstd_group_size=1, images_per_pass=maximum), share) == expected
