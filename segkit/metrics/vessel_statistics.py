"""Five statistics of a vessel map, and a test for differences between two sets of maps.

They show defects of generated images that feature distances miss: too few, too wide or broken vessels. Compare only
maps of one network from images of one resolution; manual maps are finer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress, product
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from segkit.core.groups import patients_of
from segkit.metrics.significance import FloatArray, bootstrap_interval, mean_of

MIN_SEGMENT = 10.0
"""Minimum length in pixels of a segment whose tortuosity is measured."""

MIN_IMAGES = 10
"""Minimum number of images on either side for a claim; images of one patient count as one."""

LEVEL = 0.05
"""Chance of any false claim about the five statistics together; each is tested at a fifth of it (Bonferroni)."""

NUM_PERMUTATIONS = 1999

AROUND = np.ones((3, 3), dtype=np.bool_)
"""8-connectivity."""

T = TypeVar("T", bound=np.generic)
Finding = Literal["differs", "no difference shown", "too few images"]


class VesselStatistics(NamedTuple):
    """One map's numbers; lengths in its pixels. nan where there is no vessel to measure."""

    area_share: float
    """Vessel density, in [0, 1]: vessel pixels over all pixels, inside the field of view."""
    calibre: float
    """Mean width in pixels: vessel area over the length of the centreline."""
    length: float
    """Of the centreline in pixels: 1 for each step between neighbours side by side, sqrt 2 for a diagonal one."""
    branch_points: float
    """Number of places where three or more lines meet or two cross, in the centreline."""
    tortuosity: float
    """Length along the centreline over the straight distance, of all pieces between branch points together (Hart 1999).

    1 is straight; steps over pixels alone make up to 1.08 of a straight line.
    """


def vessel_statistics(vessels: NDArray[np.bool_], fov: NDArray[np.bool_]) -> VesselStatistics:
    """Statistics of a vessel map inside the field of view; both are (h, w)."""
    from scipy import ndimage
    from skimage.morphology import skeletonize

    inside = vessels & fov
    area = int(inside.sum())
    share = area / max(int(fov.sum()), 1)
    line = skeletonize(inside)
    length = _lengths(line, line.astype(np.int64), 1)[0]
    if length == 0:
        return VesselStatistics(share, float("nan"), 0.0, 0.0, float("nan"))
    branches, num_branches = _branches(line)
    pieces, num_pieces = ndimage.label(line & ~ndimage.binary_dilation(branches, AROUND), AROUND)
    return VesselStatistics(
        share, area / float(length), float(length), float(num_branches), _tortuosity(pieces, num_pieces)
    )


def _neighbours(values: NDArray[T]) -> list[NDArray[T]]:
    """The eight neighbours of each pixel; 0 outside."""
    padded = np.pad(values, 1)
    height, width = values.shape
    return [padded[y : y + height, x : x + width] for y, x in product(range(3), repeat=2) if (y, x) != (1, 1)]


def _num_neighbours(line: NDArray[np.bool_]) -> NDArray[np.integer]:
    count: NDArray[np.integer] = np.sum(_neighbours(line), axis=0)
    return count


def _branches(line: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """Pixels where lines meet, and at how many places they do.

    Pixels with three neighbours stand together at a branch point, but also at a step of a single line. A group of them
    that three or more lines leave is a branch point.
    """
    from scipy import ndimage

    crowded = line & (_num_neighbours(line) >= 3)
    groups, num_groups = ndimage.label(crowded, AROUND)
    leaving, _ = ndimage.label(line & ~crowded & ndimage.binary_dilation(crowded, AROUND), AROUND)
    touching = [np.stack([group[leaving > 0], leaving[leaving > 0]]) for group in _neighbours(groups)]
    contacts = np.unique(np.concatenate(touching, axis=1), axis=1)  # each line once per group
    num_lines = np.bincount(contacts[0][contacts[0] > 0], minlength=num_groups + 1)
    return num_lines[groups] >= 3, int((num_lines >= 3).sum())


def _lengths(line: NDArray[np.bool_], labels: NDArray[np.integer], num_labels: int) -> FloatArray:
    """Length of the line in each label 1, ..., num_labels.

    A diagonal step counts where no way around its corner is part of the line.
    """
    total = np.zeros(num_labels + 1)
    for first, second in ((line[:, :-1], line[:, 1:]), (line[:-1], line[1:])):
        owner = labels[:, :-1] if first.shape[0] == line.shape[0] else labels[:-1]
        total += np.bincount(owner[first & second], minlength=num_labels + 1)
    upper_left, upper_right, lower_left, lower_right = line[:-1, :-1], line[:-1, 1:], line[1:, :-1], line[1:, 1:]
    falling = upper_left & lower_right & ~upper_right & ~lower_left
    rising = upper_right & lower_left & ~upper_left & ~lower_right
    for diagonal, owner in ((falling, labels[:-1, :-1]), (rising, labels[:-1, 1:])):
        total += np.sqrt(2) * np.bincount(owner[diagonal], minlength=num_labels + 1)
    return total[1:]


def _tortuosity(pieces: NDArray[np.integer], num_pieces: int) -> float:
    """Of all open pieces of some length together; nan if there is none."""
    line = pieces > 0
    lengths = _lengths(line, pieces, num_pieces)
    ends = line & (_num_neighbours(line) == 1)
    rows, columns = np.nonzero(ends)
    owner = pieces[rows, columns]
    order = np.argsort(owner, kind="stable")
    rows, columns, owner = rows[order], columns[order], owner[order]
    first = np.flatnonzero(owner[:-1] == owner[1:])  # an open piece without branches has two ends
    chords = np.hypot(rows[first + 1] - rows[first], columns[first + 1] - columns[first])
    along = lengths[owner[first] - 1]
    long = along >= MIN_SEGMENT
    return float(along[long].sum() / chords[long].sum()) if long.any() else float("nan")


@dataclass(frozen=True)
class MeanWithInterval:
    """Mean over images with its 95 % bootstrap interval over patients; both ends nan for fewer than three."""

    mean: float
    low: float
    high: float
    n: int
    """Images that have a value."""
    num_groups: int
    """Patients that these images are of; of drawn images as many as images."""


@dataclass(frozen=True)
class StatisticComparison:
    """One statistic of a set of maps, compared with that of the reference."""

    statistic: str
    other: MeanWithInterval
    p: float
    """Of a permutation test of the Wasserstein distance, two-sided; nan where a side has no value. Not corrected."""
    finding: Finding
    """Outcome of the test; see `LEVEL` and `MIN_IMAGES`."""


def summarise(
    statistics: Sequence[VesselStatistics], *, groups: Sequence[str] | None = None, seed: int = 0
) -> dict[str, MeanWithInterval]:
    """Means of each statistic over images; `groups` is the patient of each, by default one for each."""
    return {name: _mean(values, _known(values, groups), seed) for name, values in _columns(statistics).items()}


def compare(
    reference: Sequence[VesselStatistics],
    other: Sequence[VesselStatistics],
    *,
    groups: Sequence[str] | None = None,
    other_groups: Sequence[str] | None = None,
    seed: int = 0,
) -> list[StatisticComparison]:
    """Each statistic of `other` against that of `reference`; the groups are the patients of the images of either."""
    reference_columns, other_columns = _columns(reference), _columns(other)
    return [
        _compared(name, a, b, _known(a, groups), _known(b, other_groups), seed)
        for name, a, b in zip(reference_columns, reference_columns.values(), other_columns.values(), strict=True)
    ]


def _compared(
    name: str,
    reference: FloatArray,
    other: FloatArray,
    groups: Sequence[str],
    other_groups: Sequence[str],
    seed: int,
) -> StatisticComparison:
    a, b = reference[np.isfinite(reference)], other[np.isfinite(other)]
    _, p = permutation_test(a, b, groups_a=groups, groups_b=other_groups, seed=seed)
    finding: Finding = "differs" if p <= LEVEL / len(VesselStatistics._fields) else "no difference shown"
    if min(len(set(groups)), len(set(other_groups))) < MIN_IMAGES:
        finding = "too few images"
    return StatisticComparison(name, _mean(other, other_groups, seed), p, finding)


def permutation_test(
    a: FloatArray,
    b: FloatArray,
    *,
    groups_a: Sequence[str] | None = None,
    groups_b: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """Wasserstein distance of two samples, and how often chance alone makes one as large (Fisher 1935).

    Values of one group change sides together. Where the groups of one side are larger, fewer values than there are land
    on it by chance, and p is too large rather than too small.

    Returns:
        The distance and p, both nan where a sample is empty. p is at least 1 / 2000.
    """
    if not len(a) or not len(b):
        return float("nan"), float("nan")
    pooled = np.concatenate([a, b])
    order = np.argsort(pooled, kind="stable")
    gaps = np.diff(pooled[order])
    numbers_a = patients_of(len(a), groups_a)
    numbers_b = patients_of(len(b), groups_b)
    num_a, num_b = int(numbers_a.max()) + 1, int(numbers_b.max()) + 1
    numbers = np.concatenate([numbers_a, num_a + numbers_b])
    belongs = np.arange(num_a + num_b) < num_a
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(belongs, (NUM_PERMUTATIONS, 1)), axis=1)
    if len(belongs) < len(pooled):  # where each value is its own group, the order of the values does not matter
        shuffled = shuffled[:, numbers[order]]
    observed, by_chance = (_distances(sides, gaps) for sides in (belongs[numbers[order]][None], shuffled))
    as_large = int((by_chance >= observed[0] * (1 - 1e-9)).sum())
    return float(observed[0]), (1 + as_large) / (1 + NUM_PERMUTATIONS)


def _distances(in_a: NDArray[np.bool_], gaps: FloatArray) -> FloatArray:
    """Areas between the two distribution functions; (r, n) says which of n sorted values belong to a."""
    share_a = np.cumsum(in_a, axis=1) / in_a.sum(axis=1, keepdims=True)
    share_b = np.cumsum(~in_a, axis=1) / (~in_a).sum(axis=1, keepdims=True)
    areas: FloatArray = np.abs(share_a - share_b)[:, :-1] @ gaps
    return areas


def _columns(statistics: Sequence[VesselStatistics]) -> dict[str, FloatArray]:
    table: NDArray[np.float64] = np.array(statistics, dtype=np.float64).reshape(-1, len(VesselStatistics._fields))
    return dict(zip(VesselStatistics._fields, table.T, strict=True))


def _known(values: FloatArray, groups: Sequence[str] | None) -> list[str]:
    """Groups of the images that have a value."""
    named = [str(number) for number in range(len(values))] if groups is None else groups
    return list(compress(named, np.isfinite(values)))


def _mean(values: FloatArray, groups: Sequence[str], seed: int) -> MeanWithInterval:
    """Mean and interval of the values that are known; `groups` holds the patients of these alone."""
    known = values[np.isfinite(values)]
    if not len(known):
        return MeanWithInterval(float("nan"), float("nan"), float("nan"), 0, 0)
    low, high = bootstrap_interval(mean_of(known), len(known), groups=groups, seed=seed)
    return MeanWithInterval(float(known.mean()), low, high, len(known), len(set(groups)))
