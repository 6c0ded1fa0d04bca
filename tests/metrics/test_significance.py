import math

import numpy as np
import pytest

from segkit.metrics.significance import (
    bootstrap_interval,
    holm,
    mean_of,
    paired_bootstrap,
    point_estimate,
    ratio_of,
    resample_multiplicities,
)
from tests.reference.metrics_patients import percentile_interval


def test_each_resample_draws_n_images():
    drawn = resample_multiplicities(7, 500, seed=1)
    assert drawn.shape == (500, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert (drawn == 0).mean() == pytest.approx((6 / 7) ** 7, abs=0.03)  # an image is left out by (1 - 1/n)^n


def test_multiplicities_mean_the_same_as_drawing_indices():
    values, seen = np.array([0.7, 0.8, 0.9, 0.6]), np.array([10.0, 30.0, 20.0, 5.0])
    drawn = resample_multiplicities(4, 20, seed=0)
    for counts, mean, ratio in zip(drawn, mean_of(values)(drawn), ratio_of(values, seen)(drawn), strict=True):
        index = np.repeat(np.arange(4), counts)
        assert mean == pytest.approx(values[index].mean())
        assert ratio == pytest.approx(values[index].sum() / seen[index].sum())


def test_the_interval_is_the_percentiles_of_a_plain_bootstrap():
    values = np.random.default_rng(5).normal(0.82, 0.02, 20)
    rng = np.random.default_rng(6)
    plain = [rng.choice(values, 20).mean() for _ in range(20_000)]
    interval = bootstrap_interval(mean_of(values), 20, num_resamples=20_000)
    np.testing.assert_allclose(interval, np.percentile(plain, [2.5, 97.5]), atol=3e-4)


@pytest.mark.parametrize("pooled", [False, True])
def test_the_interval_covers_the_truth_about_95_times_in_100(pooled):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        found = rng.beta(20, 5, size=30)  # mean 0.8
        if pooled:
            size = rng.integers(50, 150, size=30).astype(float)
            statistic = ratio_of(found * size, size)
        else:
            statistic = mean_of(found)
        low, high = bootstrap_interval(statistic, 30, num_resamples=400, seed=int(rng.integers(2**31)))
        covered += low <= 0.8 <= high
    assert 0.91 < covered / 400 < 0.98


def test_pairing_sees_a_small_constant_gain_that_two_intervals_miss():
    rng = np.random.default_rng(3)
    hardness = rng.normal(0, 0.02, size=20)
    b = 0.82 + hardness + rng.normal(0, 0.001, size=20)
    a = 0.822 + hardness + rng.normal(0, 0.001, size=20)
    apart_a, apart_b = bootstrap_interval(mean_of(a), 20), bootstrap_interval(mean_of(b), 20)
    assert apart_a.low < apart_b.high  # the intervals overlap widely
    paired = paired_bootstrap(mean_of(a), mean_of(b), 20)
    assert 0 < paired.low < 0.002 < paired.high
    assert paired.share_above_zero == 1
    assert paired.difference == pytest.approx(np.mean(a - b))


def test_without_a_gain_the_paired_interval_holds_zero_and_turns_its_sign():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.82, 0.01, size=(2, 20))
    forth, back = paired_bootstrap(mean_of(a), mean_of(b), 20), paired_bootstrap(mean_of(b), mean_of(a), 20)
    assert forth.low < 0 < forth.high
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))


def test_a_run_against_itself_is_exactly_zero():
    values = mean_of(np.random.default_rng(0).random(9))
    paired = paired_bootstrap(values, values, 9)
    assert (paired.difference, paired.low, paired.high, paired.share_above_zero) == (0, 0, 0, 0)


def test_images_without_a_value_are_left_out_of_the_mean():
    values = np.array([0.8, np.nan, 0.6])
    assert point_estimate(mean_of(values), 3) == pytest.approx(0.7)
    assert math.isnan(point_estimate(mean_of(np.full(3, np.nan)), 3))
    assert all(math.isnan(end) for end in bootstrap_interval(mean_of(np.full(3, np.nan)), 3))


def test_two_images_have_no_interval_and_three_have_one():
    two, three = (bootstrap_interval(mean_of(np.arange(n) / n), n) for n in (2, 3))
    assert all(math.isnan(end) for end in two)
    assert 0 <= three.low < three.high <= 1


def test_one_image_has_no_interval():
    assert all(math.isnan(end) for end in bootstrap_interval(mean_of(np.array([0.8])), 1))
    paired = paired_bootstrap(mean_of(np.array([0.8])), mean_of(np.array([0.7])), 1)
    assert paired.difference == pytest.approx(0.1)
    assert math.isnan(paired.low)
    assert math.isnan(paired.share_above_zero)


def eyes(rng, num_patients, like=0.0):
    """Values of both eyes of each patient, their names, and what the two eyes share in standard deviations."""
    shared = np.repeat(rng.normal(0.8, 0.02 * like, num_patients), 2)
    return shared + rng.normal(0, 0.02 * (1 - like), 2 * num_patients), [f"p{k // 2}" for k in range(2 * num_patients)]


def test_images_of_a_patient_are_drawn_together():
    groups = ["b", "a", "b", "c", "a", "b"]
    drawn = resample_multiplicities(6, 300, 0, groups)
    assert (drawn[:, [0, 2]] == drawn[:, [2, 5]]).all()
    assert (drawn[:, 1] == drawn[:, 4]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_with_a_patient_for_each_image_nothing_changes():
    groups = [f"p{k}" for k in range(9)]
    np.testing.assert_array_equal(resample_multiplicities(9, 50, 3, groups), resample_multiplicities(9, 50, 3))
    values = mean_of(np.random.default_rng(2).random(9))
    assert bootstrap_interval(values, 9, groups=groups) == bootstrap_interval(values, 9)


def test_the_interval_over_patients_is_that_of_drawing_patients_and_gathering_their_images():
    rng = np.random.default_rng(7)
    sizes, hits = rng.integers(50, 150, 20).astype(float), rng.random(20)
    groups = [f"p{k}" for k in rng.integers(0, 8, 20)]
    interval = bootstrap_interval(ratio_of(hits * sizes, sizes), 20, groups=groups, num_resamples=20_000)
    plain = percentile_interval(groups, lambda index: np.average(hits[index], weights=sizes[index]), 6_000, seed=1)
    np.testing.assert_allclose(interval, plain, atol=0.012)
    apart = bootstrap_interval(ratio_of(hits * sizes, sizes), 20, num_resamples=20_000)
    assert abs(apart.low - plain[0]) > 0.02  # what resampling images would give


def test_over_patients_the_interval_covers_the_truth_where_over_images_it_does_not():
    rng, covered = np.random.default_rng(0), np.zeros(2)
    for _ in range(300):
        values, groups = eyes(rng, 20, like=0.9)
        for method, given in enumerate((groups, None)):
            low, high = bootstrap_interval(mean_of(values), 40, groups=given, num_resamples=300)
            covered[method] += low <= 0.8 <= high
    by_patient, by_image = covered / 300
    assert by_patient > 0.9
    assert by_image < 0.88


def test_the_paired_interval_is_over_patients_too():
    rng = np.random.default_rng(3)
    (a, groups), (b, _) = eyes(rng, 10, like=0.9), eyes(rng, 10, like=0.9)
    paired = paired_bootstrap(mean_of(a), mean_of(b), 20, groups=groups, num_resamples=20_000)
    assert (paired.n, paired.num_groups) == (20, 10)
    plain = percentile_interval(groups, lambda index: (a - b)[index].mean(), 6_000, seed=1)
    np.testing.assert_allclose((paired.low, paired.high), plain, atol=1e-3)


def test_both_eyes_of_one_patient_have_no_interval():
    assert all(math.isnan(end) for end in bootstrap_interval(mean_of(np.array([0.8, 0.7])), 2, groups=["p", "p"]))
    assert math.isnan(paired_bootstrap(mean_of(np.zeros(2)), mean_of(np.ones(2)), 2, groups=["p", "p"]).low)


def test_the_seed_decides_the_interval():
    statistic = mean_of(np.random.default_rng(1).random(12))
    assert bootstrap_interval(statistic, 12, seed=1) == bootstrap_interval(statistic, 12, seed=1)
    assert bootstrap_interval(statistic, 12, seed=1) != bootstrap_interval(statistic, 12, seed=2)


def test_an_undefined_p_does_not_hide_the_others() -> None:
    nan = float("nan")
    assert holm([0.01, 0.02]) == [0.02, 0.02]
    for p_values in ([nan, 0.001, 0.002], [0.001, nan, 0.002], [0.001, 0.002, nan]):
        corrected = dict(zip(map(str, p_values), holm(p_values), strict=True))
        assert corrected == {"0.001": 0.003, "0.002": 0.004, "nan": 1.0}
