import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score, matthews_corrcoef

from segkit.metrics.confusion import (
    FROM_CONFUSION,
    Confusion,
    accuracy,
    dice,
    mcc,
    precision,
    sensitivity,
    specificity,
)
from tests.reference.metrics_pixels import confusion, rates, retina


def test_every_rate_equals_plain_numpy_on_the_chosen_pixels():
    levels, vessels, fov = retina(0)
    counts = confusion(levels >= 30000, vessels, fov)
    expected = rates(levels, vessels, fov, 30000)
    assert set(expected) == {*FROM_CONFUSION, "mean_iou"}
    for name, rate in FROM_CONFUSION.items():
        assert rate(counts) == pytest.approx(expected[name], rel=1e-12), name


def test_rates_agree_with_scikit_learn():
    levels, vessels, fov = retina(1)
    prediction = levels >= 40000
    counts = confusion(prediction, vessels, fov)
    truth, found = vessels[fov], prediction[fov]
    assert FROM_CONFUSION["dice"](counts) == pytest.approx(f1_score(truth, found), rel=1e-12)
    assert FROM_CONFUSION["mcc"](counts) == pytest.approx(matthews_corrcoef(truth, found), rel=1e-9)
    assert FROM_CONFUSION["iou"](counts) == pytest.approx(jaccard_score(truth, found), rel=1e-12)


def test_numbers_arrays_and_tensors_give_one_answer():
    rows = np.array([[9, 1, 2, 30], [4, 4, 4, 4], [7, 0, 0, 1], [0, 0, 5, 5]])
    for rate in FROM_CONFUSION.values():
        one_by_one = [rate(Confusion(*map(int, row))) for row in rows]
        np.testing.assert_allclose(rate(Confusion(*rows.T)), one_by_one, rtol=1e-12)
        np.testing.assert_allclose(rate(Confusion(*torch.from_numpy(rows).T)).numpy(), one_by_one, rtol=1e-12)


def test_without_vessels_sensitivity_and_dice_of_nothing_are_nan():
    nothing = Confusion(tp=0, fp=0, fn=0, tn=50)
    assert all(math.isnan(FROM_CONFUSION[name](nothing)) for name in ("sensitivity", "precision", "dice", "iou", "mcc"))
    assert FROM_CONFUSION["specificity"](nothing) == FROM_CONFUSION["accuracy"](nothing) == 1


def test_a_false_alarm_on_an_image_without_vessels_has_dice_zero():
    assert dice(0, 3, 0) == 0


def test_mcc_of_a_pooled_data_set_does_not_overflow():
    # 800 images of 2048 x 2048: the four factors reach 1e38, beyond int64
    millions = np.array([[300, 30, 40, 2900]]) * 1_000_000
    assert mcc(*millions.T)[0] == pytest.approx(mcc(300.0, 30.0, 40.0, 2900.0), rel=1e-12)


def test_the_seed_papers_f1_of_882_is_the_harmonic_mean_of_precision_and_specificity():
    # Published P, SP, SE of the base model on 20 DRIVE test images, whole rectangle (584 x 565 x 20 pixels).
    p, sp, se = 0.80197, 0.97979, 0.8531
    assert 2 * p * sp / (p + sp) == pytest.approx(0.882, abs=5e-5)

    # Counts that give these three rates: FP from precision, TN from specificity, scaled to the number of pixels.
    tp_fn_fp_tn = np.array([se, 1 - se, se * (1 - p) / p, se * (1 - p) / p * sp / (1 - sp)])
    tp, fn, fp, tn = (int(count) for count in np.round(tp_fn_fp_tn / tp_fn_fp_tn.sum() * 584 * 565 * 20))
    assert precision(tp, fp) == pytest.approx(p, abs=1e-5)
    assert specificity(tn, fp) == pytest.approx(sp, abs=1e-5)
    assert sensitivity(tp, fn) == pytest.approx(se, abs=1e-5)
    assert dice(tp, fp, fn) == pytest.approx(0.827, abs=5e-4)
    assert accuracy(tp, fp, fn, tn) == pytest.approx(0.9687, abs=5e-4)  # as published: the counts are the paper's own
