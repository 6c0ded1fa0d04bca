import warnings

import numpy as np
import pytest
import torch
from scipy import linalg
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from gan.fidelity.frechet import frechet_distance
from gan.fidelity.kernel import kernel_distance
from gan.fidelity.measures import Number, measure, share
from gan.fidelity.neighbours import precision_and_recall
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
    assert kernel_distance(*features)[0] == pytest.approx(theirs[1].compute()[0].item(), rel=1e-4)


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


# kernel distance


@pytest.mark.parametrize(("n", "m"), [(5, 9), (12, 4), (3, 3)])
def test_kid_and_its_interval_equal_the_loops(n, m):
    from scipy.stats import t

    real, drawn = cloud(n), cloud(m, seed=1, mean=0.4)
    value, low, high = kernel_distance(real, drawn)
    reach = t.ppf(0.975, min(n, m) - 1) * np.sqrt(reference.jackknife_variance(reference.kid, real, drawn))
    assert value == pytest.approx(reference.kid(real, drawn))
    assert (low, high) == (pytest.approx(value - reach), pytest.approx(value + reach))


def covered(n, m, true_kid, num_samples=300, **drawn):
    """Share of samples whose interval holds the true distance, and the mean estimate."""
    found = [
        kernel_distance(1 + 0.3 * cloud(n, 12, seed=2 * i), 1 + 0.3 * cloud(m, 12, seed=2 * i + 1, **drawn))
        for i in range(num_samples)
    ]
    return np.mean([low <= true_kid <= high for _, low, high in found]), np.mean([value for value, _, _ in found])


@pytest.mark.parametrize("n", [5, 20])
def test_kid_of_equal_distributions_is_zero_on_average_and_its_interval_covers_zero(n):
    share, mean = covered(n, 60, 0.0)
    assert share >= 0.95
    assert abs(mean) < 0.02


@pytest.fixture(scope="module")
def true_kid():
    """Of many images."""
    return kernel_distance(1 + 0.3 * cloud(1500, 12, seed=9999), 1 + 0.3 * cloud(1500, 12, seed=8888, mean=0.5))[0]


@pytest.mark.parametrize("n", [10, 20])
def test_the_interval_of_kid_covers_a_true_distance_nine_times_in_ten(n, true_kid):
    share, mean = covered(n, 60, true_kid, mean=0.5)
    assert 0.88 <= share <= 0.99
    assert mean == pytest.approx(true_kid, rel=0.1)


def test_kid_does_not_depend_on_the_order_of_the_images():
    real, drawn = cloud(8), cloud(9, seed=1)
    assert kernel_distance(real[::-1], drawn[::-1]) == pytest.approx(kernel_distance(real, drawn))


@pytest.mark.parametrize(
    ("real_groups", "drawn_groups"), [("abacbd", "xyzuv"), ("abcd", "xxyyzz"), ("aabbccc", "xyxz")]
)
def test_kid_of_patients_and_its_interval_equal_the_loops(real_groups, drawn_groups):
    from scipy.stats import t

    real, drawn = cloud(len(real_groups)), cloud(len(drawn_groups), seed=1, mean=0.4)
    value, _, high = kernel_distance(real, drawn, real_groups, drawn_groups)
    assert value == pytest.approx(reference.kid_of_patients(real, drawn, real_groups, drawn_groups))
    variance = reference.jackknife_of_patients(real, drawn, real_groups, drawn_groups)
    num_patients = min(len(set(real_groups)), len(set(drawn_groups)))
    assert high - value == pytest.approx(t.ppf(0.975, num_patients - 1) * np.sqrt(variance))


def test_kid_stays_unbiased_where_both_eyes_of_each_patient_are_nearly_the_same():
    groups = [f"p{k // 2}" for k in range(12)]
    by_patient, by_image = [], []
    for seed in range(200):
        eyes = np.repeat(1 + 0.3 * cloud(6, 12, seed=2 * seed), 2, axis=0)
        others = 1 + 0.3 * cloud(40, 12, seed=2 * seed + 1)
        by_patient.append(kernel_distance(eyes, others, groups)[0])
        by_image.append(kernel_distance(eyes, others)[0])
    assert np.mean(by_patient) == pytest.approx(0, abs=0.03)
    assert np.mean(by_image) > 0.06
    assert np.isnan(kernel_distance(cloud(4), cloud(5), "aaaa")[0])


# neighbours


def test_a_fellow_eye_is_no_neighbour():
    eyes, groups = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]]), "aabbc"
    drawn = np.array([[2.0], [20.0], [7.0], [30.0], [40.0]])
    # the balls reach 5, 4.9, 4.9, 3.9 (to 9) and 3.9: those of the first four hold 2, of the last three 7
    assert precision_and_recall(eyes, drawn, 1, groups)[0] == 0.4
    assert precision_and_recall(eyes, drawn, 1)[0] == 0.2
    with pytest.raises(ValueError, match="neighbour"):
        precision_and_recall(eyes, drawn, 4, groups)
    assert measure(eyes, drawn, 4, groups)["precision"] == Number()
    precision_and_recall(eyes, drawn[:3], 2, groups)  # each of the eyes still has two others


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_equal_the_paper_s_loops(k):
    real, drawn = cloud(9), cloud(9, seed=1, mean=0.5)
    precision, recall = precision_and_recall(real, drawn, k)
    assert precision == pytest.approx(reference.covered(real, k, drawn))
    assert recall == pytest.approx(reference.covered(drawn, k, real))


def test_recall_is_the_mean_over_groups_as_large_as_the_photographs():
    real, drawn = cloud(8), cloud(29, seed=1, mean=0.5)
    precision, recall = precision_and_recall(real, drawn, 2)
    groups = [drawn[first : first + 8] for first in (0, 8, 16)]
    assert recall == pytest.approx(np.mean([reference.covered(group, 2, real) for group in groups]))
    assert precision == pytest.approx(reference.covered(real, 2, drawn))


def test_a_gan_that_draws_one_kind_only_is_precise_but_has_little_recall():
    real = np.concatenate([cloud(10), cloud(10, seed=1, mean=50)])
    precision, recall = precision_and_recall(real, cloud(20, seed=2), 3)
    assert precision > 0.7
    assert recall <= 0.5


def test_identical_images_and_constant_features_lie_in_each_other_s_balls():
    same = np.ones((6, 4))
    assert precision_and_recall(same, same, 3) == (1.0, 1.0)
    numbers = measure(same, same, 3)
    assert numbers["fid"].value == 0
    assert numbers["kid"].value == pytest.approx(0)


# all of them together


def test_each_measure_bears_its_own_number():
    real, drawn = cloud(9), cloud(31, seed=1, mean=0.5)
    found = measure(real, drawn, 3)
    precision, recall = precision_and_recall(real, drawn, 3)
    assert found == {
        "kid": Number(*kernel_distance(real, drawn)),
        "fid": Number(frechet_distance(real, drawn)),
        "precision": share(round(precision * 31), 31),
        "recall": Number(recall),
    }
    assert found["precision"].value == pytest.approx(precision)


def test_too_few_images_give_no_number():
    few = measure(cloud(3), cloud(50, seed=1), 3)
    assert few["kid"].low is not None
    assert (few["precision"], few["recall"]) == (Number(), Number())
    assert set(measure(cloud(5), cloud(1), 3).values()) == {Number()}


# shares


@pytest.mark.parametrize(("count", "n"), [(0, 20), (3, 20), (20, 20), (1, 1)])
def test_the_interval_of_a_share_is_exact(count, n):
    """At each end the tail beyond the count has the chance 2.5 % (Clopper 1934)."""
    from scipy.stats import binom

    found = share(count, n)
    assert found.value == count / n
    assert found.low == 0 or binom.sf(count - 1, n, found.low) == pytest.approx(0.025)
    assert found.high == 1 or binom.cdf(count, n, found.high) == pytest.approx(0.025)
    assert (found.low == 0, found.high == 1) == (count == 0, count == n)


def test_a_share_of_images_of_few_patients_has_the_interval_of_so_many_images():
    assert share(4, 16, 8) == share(2, 8)
    assert (share(0, 16, 8).low, share(16, 16, 8).high) == (0, 1)
    assert share(3, 16, 16) == share(3, 16)


def test_fid_of_equal_distributions_falls_with_the_number_of_images():
    few, many = (frechet_distance(cloud(n, 32), cloud(n, 32, seed=1)) for n in (20, 1000))
    assert few > 10 * many
