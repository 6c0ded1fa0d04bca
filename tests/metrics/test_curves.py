import math

import numpy as np
import pytest
from sklearn import metrics as sk

from segkit.metrics import curves
from segkit.metrics.confusion import dice
from segkit.metrics.metrics import METRICS
from tests.reference.metrics_pixels import best_dice, calibration_error, confusion, retina


def pooled(seed: int):
    """Counts of a few images, and the same pixels as flat float probabilities and truths."""
    levels, vessels, fov = retina(seed)
    return curves.count_levels(levels, vessels, fov), levels[fov] / 65535, vessels[fov]


def empty() -> curves.LevelCounts:
    nothing = np.zeros(curves.NUM_LEVELS, dtype=np.int64)
    return curves.LevelCounts(nothing, nothing)


def value(name: str, counts: curves.LevelCounts) -> float:
    """A metric of one image."""
    return METRICS[name].statistic(np.stack([counts.positive, counts.negative])[None])(np.ones((1, 1), np.int64))[0]


@pytest.mark.parametrize("seed", range(3))
def test_areas_from_level_counts_equal_scikit_learn_with_ties(seed):
    counts, probs, truth = pooled(seed)
    assert len(np.unique(probs)) < 0.8 * len(probs)  # the ties are there
    assert value("auroc", counts) == pytest.approx(sk.roc_auc_score(truth, probs), rel=1e-12)
    assert value("auprc", counts) == pytest.approx(sk.average_precision_score(truth, probs), rel=1e-12)


def test_log_loss_equals_scikit_learn_on_probabilities_half_a_level_from_certain():
    counts, probs, truth = pooled(3)
    clipped = np.clip(probs, 0.5 / 65535, 1 - 0.5 / 65535)
    assert value("log_loss", counts) == pytest.approx(sk.log_loss(truth, clipped), rel=1e-12)


@pytest.mark.parametrize("num_bins", [15, 10])
def test_calibration_error_equals_binning_the_pixels(num_bins):
    counts, probs, truth = pooled(4)
    expected = calibration_error(probs, truth, num_bins)
    assert expected > 0.01
    assert curves.expected_calibration_error(curves.reliability(counts, num_bins)) == pytest.approx(expected, rel=1e-12)
    assert value("ece", counts) == pytest.approx(calibration_error(probs, truth, 15), rel=1e-12)


def test_a_certain_vessel_falls_in_the_last_calibration_bin():
    truth = np.array([True, True, False])
    counts = curves.count_levels(np.array([65535, 65534, 0], np.uint16), truth, np.ones(3, bool))
    assert curves.reliability(counts).num_pixels.tolist() == [1, *[0] * 13, 2]


@pytest.mark.parametrize("threshold", [0.0, 0.1234, 0.5, 32768 / 65535, 1.0])
def test_confusion_at_a_threshold_counts_prob_at_least_threshold(threshold):
    levels, vessels, fov = retina(5)
    counts = curves.count_levels(levels, vessels, fov)
    assert curves.confusion_at(counts, threshold) == confusion(levels / 65535 >= threshold, vessels, fov)


def test_every_level_is_its_own_first_positive_level():
    assert [curves.first_positive_level(prob) for prob in curves.LEVEL_PROBS[::257]] == list(range(0, 65536, 257))
    assert curves.first_positive_level(np.nextafter(1.0, 2.0)) == 65536


def test_best_dice_threshold_beats_every_level_and_survives_float32():
    levels, vessels, fov = retina(6)
    counts = curves.count_levels(levels, vessels, fov)
    best = curves.best_dice_threshold(counts)
    found = curves.confusion_at(counts, best)
    assert dice(found.tp, found.fp, found.fn) == pytest.approx(best_dice(levels[fov], vessels[fov]), rel=1e-12)
    as_float32 = (levels / 65535).astype(np.float32) >= np.float32(best)
    assert confusion(as_float32, vessels, fov) == found


def test_best_dice_threshold_of_a_hard_map_is_one_half():
    _, vessels, fov = retina(7)
    noisy = vessels ^ (np.random.default_rng(0).random(vessels.shape) < 0.1)
    counts = curves.count_levels(np.where(noisy, np.uint16(65535), np.uint16(0)), vessels, fov)
    assert curves.best_dice_threshold(counts) == 0.5


def test_curves_equal_scikit_learn_and_their_areas_the_closed_forms():
    counts, probs, truth = pooled(8)
    fpr, tpr, thresholds = sk.roc_curve(truth, probs, drop_intermediate=False)
    roc = curves.roc_curve(counts)
    np.testing.assert_allclose(np.stack(roc), np.stack([fpr, tpr, thresholds])[:, 1:], rtol=1e-12)
    precision, recall, _ = sk.precision_recall_curve(truth, probs)
    pr = curves.precision_recall_curve(counts)
    np.testing.assert_allclose(np.stack([pr.x, pr.y]), np.stack([recall, precision])[:, -2::-1], rtol=1e-12)


def test_a_thinned_curve_keeps_its_ends_and_shape():
    counts, probs, truth = pooled(9)
    thinned = curves.thin(curves.roc_curve(counts), 60)
    assert len(thinned.x) <= 60
    assert (thinned.x[-1], thinned.y[-1]) == (1, 1)
    assert np.trapezoid(thinned.y, thinned.x) == pytest.approx(sk.roc_auc_score(truth, probs), abs=0.01)


def test_adding_counts_pools_the_images():
    levels, vessels, fov = retina(10)
    total = sum((curves.count_levels(*image) for image in zip(levels, vessels, fov, strict=True)), empty())
    together = curves.count_levels(levels, vessels, fov)
    assert (total.positive == together.positive).all()
    assert (total.negative == together.negative).all()
    assert total.num_pixels == fov.sum()


@pytest.mark.parametrize("is_positive", [True, False])
def test_with_one_class_alone_there_is_no_ranking(is_positive):
    truth = np.full(6, is_positive)
    counts = curves.count_levels(np.arange(6, dtype=np.uint16), truth, np.ones(6, bool))
    assert math.isnan(value("auroc", counts))
    assert math.isnan(value("auprc", counts)) != is_positive
    assert math.isnan(curves.best_dice_threshold(counts)) != is_positive


def test_without_pixels_every_number_is_nan():
    assert all(math.isnan(value(name, empty())) for name in ("auroc", "auprc", "log_loss", "ece"))
