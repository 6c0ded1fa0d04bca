import numpy as np
import pytest
from pydantic import ValidationError

from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import DatasetError

THREE = Classes(kind="multiclass", names=("background", "vessel", "disc"), ignored=255)


def test_a_binary_task_has_one_channel_and_a_multiclass_one_a_channel_per_class():
    assert (VESSEL.num_channels, VESSEL.names) == (1, ("vessel",))
    assert THREE.num_channels == 3


def test_a_label_map_becomes_one_map_per_class_and_ignored_pixels_belong_to_none():
    labels = np.array([[0, 1, 2], [2, 255, 0]], np.uint8)
    target = THREE.target(labels)
    assert target.shape == (3, 2, 3)
    np.testing.assert_array_equal(target[1], [[0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(target.sum(axis=0), [[1, 1, 1], [1, 0, 1]])
    np.testing.assert_array_equal(THREE.valid_pixels(labels), target.sum(axis=0) > 0)


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(DatasetError, match="label 3"):
        THREE.target(np.array([[0, 3]], np.uint8))


@pytest.mark.parametrize(
    "wrong",
    [
        {"names": ("vessel", "disc")},
        {"kind": "multiclass", "names": ("vessel",)},
        {"kind": "multiclass", "names": ("a", "a")},
        {"kind": "multiclass", "names": ("a", "b"), "colors": ((0, 0, 0),)},
        {"kind": "multiclass", "names": ("a", "b"), "ignored": 1},
        {"ignored": 255},
    ],
)
def test_classes_that_contradict_themselves_are_refused(wrong):
    with pytest.raises(ValidationError):
        Classes(**wrong)


def test_every_class_has_a_colour():
    many = Classes(kind="multiclass", names=tuple(f"c{i}" for i in range(20)))
    assert len(many.palette) == 20
    assert len(VESSEL.palette) == 1
    assert Classes(colors=((1, 2, 3),)).palette == ((1, 2, 3),)
