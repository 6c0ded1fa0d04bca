"""Precision and recall (Kynkäänniemi 2019), density and coverage (Naeem 2020)."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import cdist

from segkit.core.groups import group_numbers


class Neighbourhood(NamedTuple):
    """Measures over balls whose radius is the distance to the k-th nearest neighbour of the same kind."""

    precision: float
    """Share of the drawn images in the ball of a photograph: realism."""
    recall: float
    """Share of the photographs in the ball of a drawn image: variety."""
    density: float
    """Number of photographs' balls around a drawn image, over k: like precision, but robust to outliers."""
    coverage: float
    """Share of the photographs with a drawn image in their ball."""
    group_size: int
    """Number of drawn images in each group for recall and coverage."""


def neighbourhood(
    real: Float[np.ndarray, "n d"],
    drawn: Float[np.ndarray, "m d"],
    k: int,
    real_groups: Sequence[str] | None = None,
    drawn_groups: Sequence[str] | None = None,
) -> Neighbourhood:
    """The four measures.

    Images of one patient do not count as neighbours of each other, because a patient's other eye would make the balls
    too small. The groups are the patients of the real and of the drawn images, by default a different one for each.

    Recall and coverage rise with the number of drawn images. So both are averages over successive groups of as many
    drawn images as there are photographs; an incomplete last group is left out.

    Raises:
        ValueError: an image has fewer than k others of other patients on its side.
    """
    group_size = min(len(real), len(drawn))
    real_patients, drawn_patients = _patients(len(real), real_groups), _patients(len(drawn), drawn_groups)
    if not (has_neighbours(len(real), k, real_groups) and has_neighbours(group_size, k, drawn_groups)):
        raise ValueError(f"balls to the neighbour number {k} need more than {k} images of each kind, not {group_size}")
    distances = cdist(real, drawn)
    reach = _radii(real, k, real_patients)[:, None]
    inside: Bool[np.ndarray, "n m"] = distances <= reach
    recalls, coverages = [], []
    for first in range(0, len(drawn) - group_size + 1, group_size):
        group = slice(first, first + group_size)
        radii = _radii(drawn[group], k, drawn_patients[group])
        recalls.append((distances[:, group] <= radii).any(axis=1).mean())
        coverages.append(inside[:, group].any(axis=1).mean())
    return Neighbourhood(
        precision=float(inside.any(axis=0).mean()),
        recall=float(np.mean(recalls)),
        density=float(inside.sum(axis=0).mean() / k),
        coverage=float(np.mean(coverages)),
        group_size=group_size,
    )


def has_neighbours(num_images: int, k: int, groups: Sequence[str] | None) -> bool:
    """Whether in any `num_images` of the images each has k others of other patients."""
    return num_images - (max(Counter(groups).values()) if groups else 1) >= k


def _patients(n: int, groups: Sequence[str] | None) -> Int[np.ndarray, " n"]:
    return np.arange(n) if groups is None else group_numbers(groups)


def _radii(points: Float[np.ndarray, "n d"], k: int, patients: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Distance of each point to its k-th nearest neighbour of another patient."""
    others = patients[:, None] != patients
    return np.sort(np.where(others, cdist(points, points), np.inf), axis=1)[:, k - 1]


def expected_coverage(n: int, m: int, k: int, groups: Sequence[str] | None = None) -> float:
    """Expected coverage of m images from the distribution of the n photographs (Naeem 2020, Lemma 2).

    1 minus the chance that the k nearest of all other images are photographs: (n-1)...(n-k) / (n+m-1)...(n+m-k). Where
    a photograph's patient has s of them, in `groups`, only n - s are others, and n - s + 1 stands for n.
    """
    nearest = np.arange(1, k + 1)
    sizes = Counter(Counter(groups).values()) if groups else Counter({1: n})
    shares = {s: 1 - np.prod((n - s + 1 - nearest) / (n - s + 1 + m - nearest)) for s in sizes}
    return float(sum(s * number * shares[s] for s, number in sizes.items()) / n)
