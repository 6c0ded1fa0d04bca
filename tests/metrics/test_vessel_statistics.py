import math

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from skimage.draw import disk
from skimage.draw import line as pixels_of_line
from skimage.morphology import skeletonize

from segkit.data import phantom
from segkit.metrics.vessel_statistics import (
    VesselStatistics,
    _branches,
    _lengths,
    compare,
    permutation_test,
    summarise,
    vessel_statistics,
)
from tests.reference.metrics_patients import percentile_interval

EVERYWHERE = np.ones((120, 120), dtype=bool)


def drawn(*lines: tuple[int, int, int, int]) -> np.ndarray:
    image = np.zeros((120, 120), dtype=bool)
    for ends in lines:
        image[pixels_of_line(*ends)] = True
    return image


def bar(width: int, length: int = 100) -> np.ndarray:
    image = np.zeros((120, 120), dtype=bool)
    image[50 : 50 + width, 10 : 10 + length] = True
    return image


@pytest.mark.parametrize("width", [1, 3, 5, 8])
def test_the_calibre_of_a_bar_is_its_width(width: int) -> None:
    found = vessel_statistics(bar(width), EVERYWHERE)
    assert found.area_share == width * 100 / 120**2
    assert found.calibre == pytest.approx(width, rel=0.1)
    assert found.length == pytest.approx(100, abs=width + 1)


def test_the_area_is_that_inside_the_field_of_view() -> None:
    fov = np.zeros((120, 120), dtype=bool)
    fov[:, :60] = True
    found = vessel_statistics(bar(3), fov)
    assert found.area_share == 3 * 50 / (120 * 60)
    assert found.length == pytest.approx(50, abs=4)


def loop_length(line: np.ndarray) -> float:
    """Every pair of neighbours; a diagonal one only where it cuts no corner."""
    on = set(zip(*np.nonzero(line), strict=True))
    total = 0.0
    for y, x in on:
        total += ((y, x + 1) in on) + ((y + 1, x) in on)
        for step in (1, -1):
            if (y + 1, x + step) in on and (y, x + step) not in on and (y + 1, x) not in on:
                total += math.sqrt(2)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_lengths_are_sums_over_steps(seed: int) -> None:
    line = skeletonize(phantom.draw(seed, 146, 141).vessels)
    assert _lengths(line, line.astype(np.int64), 1)[0] == pytest.approx(loop_length(line))


@pytest.mark.parametrize(("ends", "length"), [((10, 10, 10, 90), 80), ((10, 10, 90, 90), 80 * math.sqrt(2))])
def test_a_straight_line_has_its_length_and_no_tortuosity(ends: tuple[int, int, int, int], length: float) -> None:
    found = vessel_statistics(drawn(ends), EVERYWHERE)
    assert found.length == pytest.approx(length)
    assert found.tortuosity == pytest.approx(1)
    assert found.branch_points == 0


def test_steps_over_pixels_lengthen_no_straight_line_by_more_than_eight_per_cent() -> None:
    for angle in np.linspace(0, np.pi / 2, 19):
        ends = 10, 10, 10 + round(100 * np.sin(angle)), 10 + round(100 * np.cos(angle))
        assert 0.99 < vessel_statistics(drawn(ends), EVERYWHERE).tortuosity < 1.09


def test_a_half_circle_is_longer_than_straight_by_half_of_pi() -> None:
    circle = np.zeros((120, 120), dtype=bool)
    circle[disk((60, 60), 41)] = True
    circle[disk((60, 60), 38)] = False
    circle[60:] = False
    assert vessel_statistics(circle, EVERYWHERE).tortuosity == pytest.approx(np.pi / 2, rel=0.08)


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ([(60, 10, 60, 110)], 0),
        ([(60, 10, 60, 110), (60, 60, 110, 60)], 1),
        ([(60, 10, 60, 110), (10, 60, 110, 60)], 1),
        ([(10, 10, 110, 110), (110, 10, 10, 110)], 1),
        ([(60, 10, 60, 110), (60, 30, 110, 30), (60, 80, 10, 80)], 2),
        ([(20, 10, 20, 110), (20, 40, 110, 60), (20, 80, 110, 60)], 3),
    ],
)
def test_branch_points_are_where_lines_meet_or_cross(lines: list[tuple[int, int, int, int]], count: int) -> None:
    thick = np.zeros((120, 120), dtype=bool)
    thin = drawn(*lines)
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            thick |= np.roll(thin, (y, x), (0, 1))
    assert vessel_statistics(thick, EVERYWHERE).branch_points == count


def test_a_line_that_goes_by_steps_meets_nothing() -> None:
    steps = np.zeros((40, 40), dtype=bool)
    for n in range(5, 30):
        steps[n, n] = steps[n, n + 1] = True
    assert _branches(steps)[1] == 0
    steps[20:35, 20] = True
    assert _branches(steps)[1] == 1


def test_a_piece_of_a_few_pixels_has_no_direction_to_leave() -> None:
    hook = drawn((10, 10, 10, 15), (10, 15, 12, 15))
    assert math.isnan(vessel_statistics(hook, EVERYWHERE).tortuosity)
    assert vessel_statistics(hook | drawn((60, 10, 60, 60)), EVERYWHERE).tortuosity == pytest.approx(1)


def test_a_closed_ring_has_no_ends_and_so_no_tortuosity() -> None:
    ring = np.zeros((120, 120), dtype=bool)
    ring[disk((60, 60), 41)] = True
    ring[disk((60, 60), 38)] = False
    found = vessel_statistics(ring, EVERYWHERE)
    assert math.isnan(found.tortuosity)
    assert found.length == pytest.approx(2 * np.pi * 39.5, rel=0.12)


def test_an_empty_map_has_no_calibre_and_no_field_of_view_no_error() -> None:
    nothing = np.zeros((120, 120), dtype=bool)
    found = vessel_statistics(nothing, EVERYWHERE)
    assert (found.area_share, found.length, found.branch_points) == (0, 0, 0)
    assert math.isnan(found.calibre)
    assert vessel_statistics(nothing, nothing).area_share == 0
    dot = nothing.copy()
    dot[5, 5] = True
    assert math.isnan(vessel_statistics(dot, EVERYWHERE).calibre)


def test_flips_and_quarter_turns_change_nothing_much() -> None:
    sample = phantom.draw(1, 200, 200)
    one = vessel_statistics(sample.vessels, sample.fov)
    for turned in (np.fliplr, np.rot90):
        other = vessel_statistics(turned(sample.vessels), turned(sample.fov))
        assert other.area_share == one.area_share
        assert other[1:] == pytest.approx(one[1:], rel=0.1)


# two sets


def statistics(n: int, seed: int, **shift: float) -> list[VesselStatistics]:
    rng = np.random.default_rng(seed)
    base = VesselStatistics(0.1, 4.0, 5000.0, 60.0, 1.15)
    spread = VesselStatistics(0.01, 0.3, 500.0, 8.0, 0.02)
    return [
        VesselStatistics(
            *(
                rng.normal(mean + shift.get(name, 0) * sd, sd)
                for name, mean, sd in zip(base._fields, base, spread, strict=True)
            )
        )
        for _ in range(n)
    ]


@pytest.mark.parametrize(("n", "m"), [(10, 10), (20, 7), (3, 50)])
def test_the_distance_is_wasserstein_s(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=n), rng.normal(0.5, size=m).round(1)
    distance, p = permutation_test(a, b)
    assert distance == pytest.approx(wasserstein_distance(a, b))
    assert 1 / 2000 <= p <= 1
    assert permutation_test(rng.normal(size=20), rng.normal(100, size=20))[1] == 1 / 2000


def test_equal_sets_seldom_differ_and_p_is_spread_evenly() -> None:
    ps = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        ps.append(permutation_test(rng.normal(size=8), rng.normal(size=20), seed=seed)[1])
    assert np.mean(np.array(ps) <= 0.05) == pytest.approx(0.05, abs=0.04)
    assert np.mean(ps) == pytest.approx(0.5, abs=0.06)


def test_a_difference_is_found_where_it_is_and_nowhere_else() -> None:
    reference = statistics(15, 0)
    found = {each.statistic: each for each in compare(reference, statistics(60, 1, calibre=3))}
    assert {name for name, each in found.items() if each.finding == "differs"} == {"calibre"}
    before, after = summarise(reference)["calibre"], found["calibre"].other
    assert before.low < 4.0 < before.high
    assert after.low < 4.9 < after.high
    assert (before.n, after.n) == (15, 60)


def test_nothing_is_claimed_of_fewer_than_ten_images() -> None:
    found = compare(statistics(9, 0), statistics(60, 1, calibre=9))
    assert {each.finding for each in found} == {"too few images"}


def eyes(seed: int, num_patients: int) -> np.ndarray:
    """Values of both eyes of each patient, which are nearly alike."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(size=num_patients), 2) + 0.1 * rng.normal(size=2 * num_patients)


def test_with_both_eyes_of_each_patient_equal_sets_differ_no_more_often_than_allowed() -> None:
    groups = [f"p{k // 2}" for k in range(20)]
    both, one_side, alone = [], [], []
    for seed in range(200):
        a, b = eyes(2 * seed, 10), eyes(2 * seed + 1, 10)
        both.append(permutation_test(a, b, groups_a=groups, groups_b=groups, seed=seed)[1])
        one_side.append(permutation_test(a, b[::2], groups_a=groups, seed=seed)[1])
        alone.append(permutation_test(a, b, seed=seed)[1])
    assert np.mean(np.array(both) <= 0.05) == pytest.approx(0.05, abs=0.04)
    assert np.mean(np.array(one_side) <= 0.05) <= 0.09
    assert np.mean(np.array(alone) <= 0.05) > 0.12


def test_patients_and_not_images_are_counted_and_resampled() -> None:
    some, groups = statistics(20, 0), [f"p{k // 2}" for k in range(20)]
    mean = summarise(some, groups=groups)["calibre"]
    assert (mean.n, mean.num_groups) == (20, 10)
    low, high = percentile_interval(groups, lambda index: np.mean([some[k].calibre for k in index]), 4000, seed=1)
    assert (mean.low, mean.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))
    others = statistics(60, 1, calibre=9)
    assert {each.finding for each in compare(some[:18], others, groups=groups[:18])} == {"too few images"}
    found = {each.statistic: each for each in compare(some, others, groups=groups)}
    assert found["calibre"].finding == "differs"
    assert found["calibre"].other.num_groups == 60


def test_images_without_a_value_are_left_out_and_counted() -> None:
    empty = VesselStatistics(0.0, float("nan"), 0.0, 0.0, float("nan"))
    found = {each.statistic: each for each in compare(statistics(12, 0), [empty] * 3 + statistics(12, 1))}
    assert found["calibre"].other.n == 12
    assert found["area_share"].other.n == 15
    only_empty = {each.statistic: each for each in compare(statistics(12, 0), [empty] * 12)}
    assert only_empty["area_share"].finding == "differs"
    assert math.isnan(only_empty["calibre"].p)
    assert only_empty["calibre"].finding == "too few images"


def test_means_are_over_images() -> None:
    some = statistics(7, 0)
    found = summarise(some)
    assert found["length"].mean == pytest.approx(np.mean([each.length for each in some]))
    assert found["length"].n == 7
    assert math.isnan(summarise([])["length"].mean)


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert compare(statistics(10, 0), statistics(10, 1), seed=3) == compare(
        statistics(10, 0), statistics(10, 1), seed=3
    )
