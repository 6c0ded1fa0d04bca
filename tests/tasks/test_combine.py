import numpy as np
import pytest

from segkit.tasks.combine import combine, greedy_weights
from tests.reference.metrics_pixels import rates, retina

WEIGHTS, THRESHOLDS = [0.5, 0.3, 0.2], [0.4, 0.5, 0.6]


@pytest.fixture
def maps():
    return np.random.default_rng(0).random((3, 1, 9, 7), dtype=np.float32)


def test_rules_equal_a_loop_over_pixels(maps):
    expected = {rule: np.zeros((9, 7)) for rule in ("mean", "weighted", "max", "intersection", "vote")}
    for place in np.ndindex(9, 7):
        a, b, c = (float(one[place]) for one in maps[:, 0])
        expected["mean"][place] = (a + b + c) / 3
        expected["weighted"][place] = 0.5 * a + 0.3 * b + 0.2 * c
        expected["max"][place] = max(a, b, c)
        expected["intersection"][place] = min(a, b, c)
        expected["vote"][place] = ((a >= 0.4) + (b >= 0.5) + (c >= 0.6)) / 3
    for rule, values in expected.items():
        found = combine(maps, rule, WEIGHTS, THRESHOLDS)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found[0], values, atol=1e-6, err_msg=rule)


def test_a_probability_at_its_members_threshold_votes_for_vessel():
    maps = np.array([[[[0.4]]], [[[0.39]]]], np.float32)
    assert combine(maps, "vote", [0.5, 0.5], [0.4, 0.4])[0, 0, 0] == 0.5


def test_one_member_is_its_own_ensemble(maps):
    for rule in ("mean", "weighted", "max", "intersection"):
        np.testing.assert_array_equal(combine(maps[:1], rule, [1.0], [0.5]), maps[0])


def test_probabilities_stay_in_range_though_weights_are_rounded():
    ones = np.ones((3, 1, 4, 4), np.float32)
    for rule in ("mean", "weighted", "max", "intersection", "vote"):
        found = combine(ones, rule, [1 / 3 + 1e-7] * 3, [0.5] * 3)
        assert found.max() <= 1
        np.testing.assert_allclose(found, 1, atol=1e-6)


def test_greedy_weights_are_never_worse_than_the_best_member():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        table = rng.random((4, 4))

        def score(weights, table=table):
            return float(np.asarray(weights) @ table @ np.asarray(weights))

        found = greedy_weights(4, score)
        assert sum(found) == pytest.approx(1)
        assert min(found) >= 0
        assert score(found) >= max(score(one) for one in np.eye(4)) - 1e-12


def test_greedy_weights_of_real_maps_are_at_least_as_good_as_each_member():
    levels, vessels, fov = retina(0)
    rng = np.random.default_rng(1)
    probs = [np.clip(levels / 65535 + rng.normal(scale=noise, size=levels.shape), 0, 1) for noise in (0.2, 0.3, 0.4)]
    members = np.stack(probs)[:, None].astype(np.float32)

    def dice(weights):
        return rates(combine(members, "weighted", weights, [0.5] * 3)[0], vessels, fov, 0.5)["dice"]

    found = greedy_weights(3, dice)
    singles = [dice(one) for one in np.eye(3).tolist()]
    assert dice(found) > max(singles)


def test_greedy_weights_are_picks_with_replacement():
    # nearest to these weights in tenths: each pick adds the member that brings them closest
    target = np.array([0.6, 0.3, 0.1])
    found = greedy_weights(3, lambda weights: -float(np.abs(np.asarray(weights) - target).sum()))
    np.testing.assert_allclose(found, target, atol=1e-9)


def test_the_best_of_the_picks_on_the_way_is_kept():
    # three picks give a third each; the tenth pick spoils it
    found = greedy_weights(3, lambda weights: -float(np.var(weights)))
    np.testing.assert_allclose(found, 1 / 3)


def test_of_equal_members_the_first_is_taken():
    assert greedy_weights(3, lambda weights: 1.0) == [1.0, 0.0, 0.0]


def test_rules_of_several_classes_equal_a_loop_over_pixels():
    maps = np.random.default_rng(3).dirichlet(np.ones(4), (3, 9, 7)).transpose(0, 3, 1, 2).astype(np.float32)
    expected = {rule: np.zeros((4, 9, 7)) for rule in ("mean", "weighted", "max", "intersection", "vote")}
    for place in np.ndindex(9, 7):
        a, b, c = (maps[member][:, *place].tolist() for member in range(3))
        for k in range(4):
            expected["mean"][k, *place] = (a[k] + b[k] + c[k]) / 3
            expected["weighted"][k, *place] = 0.5 * a[k] + 0.3 * b[k] + 0.2 * c[k]
            expected["max"][k, *place] = max(a[k], b[k], c[k])
            expected["intersection"][k, *place] = min(a[k], b[k], c[k])
            expected["vote"][k, *place] = sum(max(one) == one[k] for one in (a, b, c)) / 3
    for rule, values in expected.items():
        combined = combine(maps, rule, WEIGHTS, THRESHOLDS)
        assert combined.dtype == np.float32
        np.testing.assert_allclose(combined, values, atol=1e-6, err_msg=rule)
    for rule in ("mean", "weighted", "vote"):
        np.testing.assert_allclose(combine(maps, rule, WEIGHTS, THRESHOLDS).sum(axis=0), 1, atol=1e-6)


def test_members_vote_for_their_most_probable_class_whatever_their_thresholds():
    maps = np.array([[[0.45], [0.3], [0.25]], [[0.2], [0.5], [0.3]]], np.float32)  # 2 members, 3 classes, 1 pixel
    for thresholds in ([0.1, 0.1], [0.9, 0.9]):
        np.testing.assert_array_equal(combine(maps, "vote", [0.5, 0.5], thresholds), [[0.5], [0.5], [0]])


def test_flat_pixels_are_combined_like_pictures():
    maps = np.random.default_rng(4).dirichlet(np.ones(3), (2, 5, 6)).transpose(0, 3, 1, 2).astype(np.float32)
    for rule in ("mean", "weighted", "max", "intersection", "vote"):
        flat = combine(maps.reshape(2, 3, -1), rule, [0.6, 0.4], [0.5, 0.5])
        np.testing.assert_array_equal(flat, combine(maps, rule, [0.6, 0.4], [0.5, 0.5]).reshape(3, -1))
