import math
import warnings

import numpy as np
import pytest
import torch
from scipy import linalg
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from gan.fidelity import measures
from gan.fidelity.features import stacked
from gan.fidelity.frechet import frechet_distance
from gan.fidelity.kernel import kernel_distance
from gan.fidelity.measures import measure, short
from gan.fidelity.neighbours import expected_coverage, neighbourhood
from gan.fidelity.shares import images_to_settle, share_of
from segkit.core.errors import SegkitError
from tests.reference import gan_fidelity_numpy as reference


def cloud(n, d=6, seed=0, mean=0.0, scale=1.0):
    return mean + scale * np.random.default_rng(seed).standard_normal((n, d))


# Fréchet distance


@pytest.mark.parametrize(("n", "m", "d"), [(40, 50, 6), (20, 200, 64), (5, 7, 30), (300, 9, 12)])
def test_fid_equals_the_matrix_square_root_of_the_paper_at_any_rank(n, m, d):
    real, drawn = cloud(n, d), cloud(m, d, seed=1, mean=0.3, scale=1.7)
    assert frechet_distance(real, drawn) == pytest.approx(reference.fid(real, drawn), rel=1e-6)


def test_fid_equals_that_of_scipy_where_covariances_have_full_rank():
    real, drawn = cloud(60), cloud(80, seed=1, scale=0.5)
    product = linalg.sqrtm(np.cov(real.T) @ np.cov(drawn.T)).real
    expected = ((real.mean(0) - drawn.mean(0)) ** 2).sum() + np.trace(np.cov(real.T) + np.cov(drawn.T) - 2 * product)
    assert frechet_distance(real, drawn) == pytest.approx(expected, rel=1e-8)


class Flattened(torch.nn.Module):
    """Pixels as features, for torchmetrics."""

    num_features = 12

    def forward(self, images):
        return images.reshape(len(images), -1).double()


def tiny_images(n, seed, brightest):
    return np.random.default_rng(seed).integers(0, brightest, (n, 3, 2, 2), dtype=np.uint8)


def test_fid_and_kid_are_those_of_torchmetrics():
    real, drawn = tiny_images(20, 0, 256), tiny_images(20, 1, 200)
    features = [images.reshape(20, -1).astype(np.float64) for images in (real, drawn)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it keeps all features in memory, as it says
        theirs = [
            FrechetInceptionDistance(feature=Flattened()),
            KernelInceptionDistance(feature=Flattened(), subsets=1, subset_size=20),
        ]
    for metric in theirs:
        metric.set_dtype(torch.float64)
        metric.update(torch.from_numpy(real), real=True)
        metric.update(torch.from_numpy(drawn), real=False)
    assert frechet_distance(*features) == pytest.approx(theirs[0].compute().item(), rel=1e-6)
    assert kernel_distance(*features).value == pytest.approx(theirs[1].compute()[0].item(), rel=1e-4)


def test_fid_of_gaussians_is_the_closed_form():
    """|mu|^2 + sum (s_r - s_d)^2 for covariances with the same axes."""
    spread = np.array([1.0, 2.0, 0.5])
    real, drawn = cloud(100_000, 3) * spread, cloud(100_000, 3, seed=1) * 3 * spread + 1
    assert frechet_distance(real, drawn) == pytest.approx(3 + (4 * spread**2).sum(), rel=0.02)


def test_fid_of_a_set_with_itself_is_zero_and_with_a_shifted_one_the_squared_shift():
    real = cloud(20, 100)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(real, real[::-1] + 0.5) == pytest.approx(100 * 0.25)


def test_fid_does_not_mind_a_turn_of_the_space():
    real, drawn = cloud(10, 8), cloud(30, 8, seed=1, scale=2)
    turn = np.linalg.qr(cloud(8, 8, seed=2)).Q
    assert frechet_distance(real @ turn, drawn @ turn) == pytest.approx(frechet_distance(real, drawn))


def test_fid_of_equal_distributions_falls_with_the_number_of_images_and_says_that_it_is_biased(monkeypatch):
    few, many = (frechet_distance(cloud(n, 32), cloud(n, 32, seed=1)) for n in (20, 1000))
    assert few > 10 * many
    note = measure(cloud(20, 32), cloud(50, 32, seed=1), 3)[1].note
    assert note == "biased upwards (20 photographs, 50 images, 32 features): compare only values of equal sizes"
    monkeypatch.setattr(measures, "MANY", 20)
    assert "biased" not in measure(cloud(20, 32), cloud(50, 32, seed=1), 3)[1].note


# kernel distance


@pytest.mark.parametrize(("n", "m"), [(5, 9), (12, 4), (3, 3)])
def test_kid_and_its_interval_equal_the_loops(n, m):
    from scipy.stats import t

    real, drawn = cloud(n), cloud(m, seed=1, mean=0.4)
    found = kernel_distance(real, drawn)
    reach = t.ppf(0.975, min(n, m) - 1) * np.sqrt(reference.jackknife_variance(reference.kid, real, drawn))
    assert found.value == pytest.approx(reference.kid(real, drawn))
    assert (found.low, found.high) == (pytest.approx(found.value - reach), pytest.approx(found.value + reach))


def covered(n, m, true_kid, num_samples=300, **drawn):
    """Share of samples whose interval holds the true distance, and the mean estimate."""
    found = [
        kernel_distance(1 + 0.3 * cloud(n, 12, seed=2 * i), 1 + 0.3 * cloud(m, 12, seed=2 * i + 1, **drawn))
        for i in range(num_samples)
    ]
    return np.mean([each.low <= true_kid <= each.high for each in found]), np.mean([each.value for each in found])


@pytest.mark.parametrize("n", [5, 20])
def test_kid_of_equal_distributions_is_zero_on_average_and_its_interval_covers_zero(n):
    share, mean = covered(n, 60, 0.0)
    assert share >= 0.95
    assert abs(mean) < 0.02


@pytest.mark.parametrize("n", [10, 20])
def test_the_interval_of_kid_covers_a_true_distance_nine_times_in_ten(n):
    true = kernel_distance(1 + 0.3 * cloud(3000, 12, seed=9999), 1 + 0.3 * cloud(3000, 12, seed=8888, mean=0.5)).value
    share, mean = covered(n, 60, true, mean=0.5)
    assert 0.88 <= share <= 0.99
    assert mean == pytest.approx(true, rel=0.1)


def test_kid_does_not_depend_on_the_order_of_the_images():
    real, drawn = cloud(8), cloud(9, seed=1)
    assert kernel_distance(real[::-1], drawn[::-1]) == pytest.approx(kernel_distance(real, drawn))


@pytest.mark.parametrize(
    ("real_groups", "drawn_groups"), [("abacbd", "xyzuv"), ("abcd", "xxyyzz"), ("aabbccc", "xyxz")]
)
def test_kid_of_patients_and_its_interval_equal_the_loops(real_groups, drawn_groups):
    from scipy.stats import t

    real, drawn = cloud(len(real_groups)), cloud(len(drawn_groups), seed=1, mean=0.4)
    found = kernel_distance(real, drawn, real_groups, drawn_groups)
    assert found.value == pytest.approx(reference.kid_of_patients(real, drawn, real_groups, drawn_groups))
    variance = reference.jackknife_of_patients(real, drawn, real_groups, drawn_groups)
    num_patients = min(len(set(real_groups)), len(set(drawn_groups)))
    assert found.high - found.value == pytest.approx(t.ppf(0.975, num_patients - 1) * np.sqrt(variance))


def test_kid_stays_unbiased_where_both_eyes_of_each_patient_are_nearly_the_same():
    groups = [f"p{k // 2}" for k in range(12)]
    by_patient, by_image = [], []
    for seed in range(200):
        eyes = np.repeat(1 + 0.3 * cloud(6, 12, seed=2 * seed), 2, axis=0)
        others = 1 + 0.3 * cloud(40, 12, seed=2 * seed + 1)
        by_patient.append(kernel_distance(eyes, others, groups).value)
        by_image.append(kernel_distance(eyes, others).value)
    assert np.mean(by_patient) == pytest.approx(0, abs=0.03)
    assert np.mean(by_image) > 0.06
    assert np.isnan(kernel_distance(cloud(4), cloud(5), "aaaa").value)


# neighbours


def test_a_fellow_eye_is_no_neighbour():
    eyes, groups = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]]), "aabbc"
    drawn = np.array([[2.0], [20.0], [7.0], [30.0], [40.0]])
    found = neighbourhood(eyes, drawn, 1, groups)
    # the balls reach 5, 4.9, 4.9, 3.9 (to 9) and 3.9: those of the first four hold 2, of the last three 7
    assert found.precision == 0.4
    assert found.density == (4 + 3) / 5
    assert found.coverage == 1
    assert neighbourhood(eyes, drawn, 1).precision == 0.2
    with pytest.raises(ValueError, match="neighbour"):
        neighbourhood(eyes, drawn, 4, groups)
    assert measure(eyes, drawn, 4, groups)[2].value is None
    assert neighbourhood(eyes, drawn[:3], 2, groups).group_size == 3  # each of the eyes still has two others


def test_coverage_to_expect_without_fellow_eyes_is_that_of_simulated_patients():
    rng, groups, covered_shares = np.random.default_rng(0), [f"p{k // 2}" for k in range(16)], []
    for _ in range(400):
        found = neighbourhood(rng.random((16, 1)), rng.random((16, 1)), 2, groups)
        covered_shares.append(found.coverage)
    assert np.mean(covered_shares) == pytest.approx(expected_coverage(16, 16, 2, groups), abs=0.02)


def test_a_share_of_images_of_few_patients_has_the_interval_of_so_many_images():
    found = share_of(4, 16, 8)
    assert (found.count, found.n, found.value) == (4, 16, 0.25)
    assert (found.low, found.high) == pytest.approx((share_of(2, 8).low, share_of(2, 8).high))
    assert (share_of(0, 16, 8).low, share_of(16, 16, 8).high) == (0, 1)
    assert share_of(3, 16, 16) == share_of(3, 16)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_recall_density_and_coverage_equal_the_papers_loops(k):
    real, drawn = cloud(9), cloud(9, seed=1, mean=0.5)
    found = neighbourhood(real, drawn, k)
    assert found.precision == pytest.approx(reference.covered(real, k, drawn))
    assert found.recall == pytest.approx(reference.covered(drawn, k, real))
    assert found.density == pytest.approx(reference.density(real, drawn, k))
    assert found.coverage == pytest.approx(reference.coverage(real, drawn, k))


def test_recall_and_coverage_are_means_over_groups_as_large_as_the_photographs():
    real, drawn = cloud(8), cloud(29, seed=1, mean=0.5)
    found = neighbourhood(real, drawn, 2)
    groups = [drawn[first : first + 8] for first in (0, 8, 16)]
    assert found.group_size == 8
    assert found.recall == pytest.approx(np.mean([reference.covered(group, 2, real) for group in groups]))
    assert found.coverage == pytest.approx(np.mean([reference.coverage(real, group, 2) for group in groups]))
    assert found.precision == pytest.approx(reference.covered(real, 2, drawn))


def test_a_gan_that_draws_one_kind_only_is_precise_but_covers_little():
    real = np.concatenate([cloud(10), cloud(10, seed=1, mean=50)])
    found = neighbourhood(real, cloud(20, seed=2), 3)
    assert found.precision > 0.7
    assert found.recall <= 0.5
    assert found.coverage <= 0.5


@pytest.mark.parametrize(("n", "m", "k"), [(10, 10, 3), (20, 8, 2), (6, 30, 5)])
def test_the_coverage_to_expect_is_met_on_average(n, m, k):
    met = [
        np.mean(
            np.sort(np.linalg.norm(real[:, None] - real, axis=2), axis=1)[:, k]
            >= np.linalg.norm(real[:, None] - drawn, axis=2).min(axis=1)
        )
        for i in range(2000)
        for real, drawn in [(cloud(n, 3, seed=2 * i), cloud(m, 3, seed=2 * i + 1))]
    ]
    assert expected_coverage(n, m, k) == pytest.approx(np.mean(met), abs=0.015)


def test_identical_images_and_constant_features_lie_in_each_other_s_balls():
    same = np.ones((6, 4))
    assert neighbourhood(same, same, 3)[:4] == (1.0, 1.0, 2.0, 1.0)
    estimates = {each.measure: each.value for each in measure(same, same, 3)}
    assert estimates["fid"] == 0
    assert estimates["kid"] == pytest.approx(0)


# all of them together


def test_each_number_says_how_many_images_it_rests_on_in_its_key():
    [kid, fid, *_] = measure(cloud(20), cloud(1000, seed=1), 3)
    assert kid.key("drive_train", "teacher") == "kid1k_drive_train20_teacher"
    assert fid.key("drive_train", "inception") == "fid1k_drive_train20_inception"
    assert [short(number) for number in (48, 1000, 2500, 50_000, 0)] == ["48", "1k", "2500", "50k", "0"]


def test_each_measure_bears_its_own_number():
    real, drawn = cloud(9), cloud(31, seed=1, mean=0.5)
    found = {each.measure: each.value for each in measure(real, drawn, 3)}
    expected = neighbourhood(real, drawn, 3)
    assert [found[name] for name in expected._fields[:4]] == list(expected[:4])
    assert len(set(expected[:4])) == 4
    assert found["kid"] == kernel_distance(real, drawn).value
    assert found["fid"] == frechet_distance(real, drawn)


def test_too_few_images_give_no_number_but_the_reason():
    few = measure(cloud(3), cloud(50, seed=1), 3)
    shares = [each for each in few if each.measure in {"precision", "recall", "density", "coverage"}]
    assert [each.value for each in shares] == [None] * 4
    assert {each.note for each in shares} == {"k = 3 needs more than 3 images on both sides"}
    one = {each.measure: each.value for each in measure(cloud(5), cloud(1), 3)}
    assert one == dict.fromkeys(("kid", "fid", "precision", "recall", "density", "coverage"))


def test_the_interval_of_precision_is_the_exact_one_of_a_share():
    precision = measure(cloud(10), cloud(40, seed=1, mean=1.0), 3)[2]
    share = share_of(round(precision.value * 40), 40)
    assert (precision.low, precision.high) == (share.low, share.high)
    assert precision.low < precision.value < precision.high


def test_features_that_are_no_numbers_stop_the_measuring():
    rows = list(cloud(4).astype(np.float32))
    assert stacked(rows, "photographs").dtype == np.float64
    rows[2][1] = np.nan
    with pytest.raises(SegkitError, match=r"features of 1 of the 4 drawn images are not finite \(first: number 2\)"):
        stacked(rows, "drawn images")


# shares


@pytest.mark.parametrize(("count", "n"), [(0, 20), (3, 20), (20, 20), (1, 1)])
def test_the_interval_of_a_share_is_exact(count, n):
    """At each end the tail beyond the count has the chance 2.5 % (Clopper 1934)."""
    from scipy.stats import binom

    share = share_of(count, n)
    assert share.low == 0 or binom.sf(count - 1, n, share.low) == pytest.approx(0.025)
    assert share.high == 1 or binom.cdf(count, n, share.high) == pytest.approx(0.025)
    assert (share.low == 0, share.high == 1) == (count == 0, count == n)


def test_a_share_of_nothing_could_be_anything():
    assert (share_of(0, 0).low, share_of(0, 0).high) == (0, 1)


@pytest.mark.parametrize(("count", "n", "limit"), [(0, 6, 0.1), (0, 20, 0.01), (2, 100, 0.03), (9, 100, 0.1)])
def test_so_many_images_settle_a_share_and_hardly_fewer_do(count, n, limit):
    needed = images_to_settle(share_of(count, n), limit)
    assert needed > n
    per_image = count / n
    while not (needed * per_image).is_integer():
        needed += 1  # the same share of whole images
    assert share_of(round(needed * per_image), needed).high <= limit
    fewer = n * (needed // n - 1) if count else needed - 1
    assert share_of(round(fewer * per_image), fewer).high > limit


def test_a_share_of_nothing_takes_so_many_images_that_by_chance_none_would_be_among_them():
    # none of n at the upper end u of the interval: (1 - u)^n = 0.025
    assert images_to_settle(share_of(0, 5), 0.1) == math.ceil(math.log(0.025) / math.log(0.9)) == 36


@pytest.mark.parametrize(("count", "n", "limit"), [(0, 5, 0.0), (1, 10, 0.1), (3, 10, 0.1), (0, 0, 0.1)])
def test_no_number_of_images_shows_a_share_to_lie_below_itself(count, n, limit):
    assert images_to_settle(share_of(count, n), limit) is None
