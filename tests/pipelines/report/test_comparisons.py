import itertools
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipelines.report import comparisons
from pipelines.report.comparisons import COMPARED
from pipelines.results.scored_runs import Run, values_by_image
from segkit.metrics.score import ScoredImage, score_images
from tests.reference.metrics_patients import sign_flip_p

NUM_IMAGES = 5
RNG = np.random.default_rng(3)
VESSELS = RNG.random((NUM_IMAGES, 12, 10)) < 0.3
FOV = RNG.random((NUM_IMAGES, 12, 10)) < 0.8


def maps(noise: float, seed: int) -> np.ndarray:
    """(n, h, w) uint16 levels that follow the truth more or less."""
    blurred = 0.3 + 0.4 * VESSELS + noise * np.random.default_rng(seed).normal(0, 1, VESSELS.shape)
    return np.rint(65535 * np.clip(blurred, 0, 1)).astype(np.uint16)


LEVELS = {"a": maps(0.2, 1), "b": maps(0.35, 2)}
THRESHOLDS = {"a": 0.5, "b": 0.45}


def run(name: str, order: list[int] | None = None, groups: str = "") -> Run:
    pictures = [
        ScoredImage(f"{index:02d}", LEVELS[name][index], VESSELS[index], FOV[index], groups[index : index + 1])
        for index in order or range(NUM_IMAGES)
    ]
    return Run(name, score_images(pictures, [THRESHOLDS[name]]), THRESHOLDS[name])


def p_of(a: Run, b: Run, *args: Any, **given: Any) -> float:
    return comparisons.sign_flip_p([(a, b)], *args, **given)


def plain_dice(names: tuple[str, ...]) -> float:
    """Dice of all images together, each predicted by the run named for it."""
    overlap = total = 0
    for index, name in enumerate(names):
        prediction = (LEVELS[name][index] / 65535 >= THRESHOLDS[name])[FOV[index]]
        truth = VESSELS[index][FOV[index]]
        overlap += int((prediction & truth).sum())
        total += int(prediction.sum() + truth.sum())
    return 2 * overlap / total


def compared(order: list[int] | None = None) -> list[comparisons.Paired]:
    runs = {"a": run("a"), "b": run("b", order)}
    return comparisons.compare_runs("val", runs, [("a", "b"), ("a", "absent")], num_resamples=200, seed=0)


def test_every_metric_of_a_pair_is_compared_and_absent_runs_are_passed_over() -> None:
    paired = compared()
    assert [(pair.comparison.metric, pair.comparison.averaging) for pair in paired] == list(COMPARED)
    assert {(pair.run_a, pair.run_b) for pair in paired} == {("a", "b")}


def test_the_difference_is_that_of_pooled_dice_in_plain_numpy() -> None:
    result = comparisons.main_comparison(compared(), "val", "a", "b")
    assert result is not None
    assert result.difference == pytest.approx(plain_dice(("a",) * NUM_IMAGES) - plain_dice(("b",) * NUM_IMAGES))
    assert result.low < result.difference < result.high


def test_a_run_is_better_on_the_images_where_its_own_dice_is_higher() -> None:
    better = 0
    for index in range(NUM_IMAGES):
        dice = {}
        for name in ("a", "b"):
            prediction = (LEVELS[name][index] / 65535 >= THRESHOLDS[name])[FOV[index]]
            truth = VESSELS[index][FOV[index]]
            dice[name] = 2 * (prediction & truth).sum() / (prediction.sum() + truth.sum())
        better += bool(dice["a"] > dice["b"])
    assert compared()[0].num_better == better


def test_images_are_paired_by_name_whatever_their_order() -> None:
    assert compared([3, 1, 4, 0, 2])[0] == compared()[0]
    assert p_of(run("a"), run("b", [3, 1, 4, 0, 2])) == p_of(run("a"), run("b"))


def test_the_sign_flip_test_tries_every_swap() -> None:
    observed = abs(plain_dice(("a",) * NUM_IMAGES) - plain_dice(("b",) * NUM_IMAGES))
    other = {"a": "b", "b": "a"}
    swaps = list(itertools.product("ab", repeat=NUM_IMAGES))
    flipped = [abs(plain_dice(names) - plain_dice(tuple(other[name] for name in names))) for names in swaps]
    expected = np.mean([difference >= observed - 1e-12 for difference in flipped])
    assert p_of(run("a"), run("b")) == pytest.approx(expected)


@pytest.mark.parametrize("groups", ["abcde", "abbac", "aabbb", "aaaaa"])
def test_the_sign_flip_test_swaps_all_images_of_a_patient(groups: str) -> None:
    def difference(swapped: list[bool]) -> float:
        a = tuple("b" if each else "a" for each in swapped)
        return plain_dice(a) - plain_dice(tuple("a" if name == "b" else "b" for name in a))

    p = p_of(run("a", groups=groups), run("b", [3, 1, 4, 0, 2], groups=groups))
    assert p == pytest.approx(sign_flip_p(groups, difference))
    assert p >= 2 / 2 ** len(set(groups))


def test_the_sign_flip_test_of_another_metric_computes_it_for_every_swap() -> None:
    def plain_auroc(swapped: list[bool]) -> float:
        chosen = ["b" if swap else "a" for swap in swapped]
        truth = np.concatenate([VESSELS[index][FOV[index]] for index in range(NUM_IMAGES)])
        levels = np.concatenate([LEVELS[name][index][FOV[index]] for index, name in enumerate(chosen)])
        return float(roc_auc_score(truth, levels))

    def difference(swapped: list[bool]) -> float:
        return plain_auroc(swapped) - plain_auroc([not swap for swap in swapped])

    p = p_of(run("a"), run("b"), metric="auroc")
    assert p == pytest.approx(sign_flip_p("abcde", difference))


def test_the_sign_flip_test_of_a_mean_over_images_swaps_the_values_of_images() -> None:
    values_a, values_b = (np.array([*values_by_image(run(name), "dice").values()]) for name in ("a", "b"))

    def difference(swapped: list[bool]) -> float:
        return float(np.mean(np.where(swapped, values_b - values_a, values_a - values_b)))

    p = p_of(run("a"), run("b"), averaging="per-image")
    assert p == pytest.approx(sign_flip_p("abcde", difference))


def test_a_run_does_not_differ_from_itself() -> None:
    assert p_of(run("a"), run("a")) == 1.0


def test_with_many_images_swaps_are_drawn_and_come_near_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = run("a"), run("b")
    exact = p_of(a, b)
    monkeypatch.setattr(comparisons, "MAX_EXACT", 4)
    drawn = [p_of(a, b, seed) for seed in range(100)]
    assert np.mean(drawn) == pytest.approx(exact + (1 - exact) / 16, abs=0.04)  # one of the 16 is what was found
    assert p_of(a, b, 7) == drawn[7]


def test_a_comparison_is_plain_values() -> None:
    record = comparisons.as_json(compared()[0])
    assert {"split", "a", "b", "num_better", "difference", "low", "high", "n", "metric", "region"} <= set(record)
