import math

import numpy as np
import pytest

from segkit.metrics.metrics import cldice_from_counts
from segkit.metrics.reductions import ClassMaps, confusion, levels, skeletons
from tests.reference import metrics_pixels as reference

EVERYWHERE = np.ones((40, 40), dtype=bool)


def maps(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray = EVERYWHERE) -> ClassMaps:
    return ClassMaps(np.where(prediction, 50000, 3000).astype(np.uint16), prediction, truth, region)


def cldice(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray) -> float:
    return float(cldice_from_counts(*skeletons(maps(prediction, truth, region))))


def line(rows: slice, columns: slice = slice(2, 38)) -> np.ndarray:
    image = np.zeros((40, 40), dtype=bool)
    image[rows, columns] = True
    return image


def test_a_vessel_drawn_thinner_keeps_its_centre_line():
    thick, thin = line(slice(17, 24)), line(slice(20, 21))
    assert 2 * (thick & thin).sum() / (thick.sum() + thin.sum()) < 0.3  # Dice punishes the width
    assert cldice(thin, thick, EVERYWHERE) > 0.95  # not 1: a thick line's skeleton forks at its ends


def test_a_missing_half_costs_topology_sensitivity_only():
    whole, half = line(slice(20, 21)), line(slice(20, 21), slice(2, 20))
    assert skeletons(maps(half, whole)).tolist() == [18, 18, 36, 18]
    assert cldice(half, whole, EVERYWHERE) == pytest.approx(2 / (1 + 2))  # precision 1, sensitivity 1/2


def test_vessels_outside_the_region_do_not_count():
    both = line(slice(10, 11)) | line(slice(30, 31))
    upper = np.zeros((40, 40), dtype=bool)
    upper[:20] = True
    assert cldice(both, line(slice(10, 11)), EVERYWHERE) < 1
    assert cldice(both, line(slice(10, 11)), upper) == 1


def test_a_missed_image_scores_zero_and_an_empty_one_nothing():
    none = np.zeros((40, 40), dtype=bool)
    assert cldice(none, line(slice(20, 22)), EVERYWHERE) == 0
    assert cldice(line(slice(20, 22)), none, EVERYWHERE) == 0
    assert cldice(line(slice(5, 7)), line(slice(20, 22)), EVERYWHERE) == 0
    assert math.isnan(cldice(none, none, EVERYWHERE))


def test_counts_of_many_images_are_scored_at_once():
    rows = np.array([[18, 18, 36, 18], [10, 5, 10, 5], [0, 0, 4, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(cldice_from_counts(*rows.T), [2 / 3, 1 / 2, 0, np.nan])


def test_confusion_and_levels_count_the_pixels_of_the_region():
    probs, truth, region = (array[0] for array in reference.retina(3, 1))
    example = ClassMaps(probs, probs >= 30000, truth, region)
    assert tuple(confusion(example)) == reference.confusion(probs >= 30000, truth, region)
    counts = levels(example)
    assert counts.shape == (2, 65536)
    assert counts.sum(axis=1).tolist() == [(truth & region).sum(), (~truth & region).sum()]
    assert counts[0, probs[truth & region][0]] >= 1


def test_centre_lines_agree_with_a_plain_count_of_skeleton_pixels():
    probs, truths, regions = reference.retina(4, 3)
    for levels_, truth, region in zip(probs, truths, regions, strict=True):
        expected = reference.cldice(levels_ >= 30000, truth, region)
        assert cldice(levels_ >= 30000, truth, region) == pytest.approx(expected, rel=1e-12)
