"""Shares of images that lie among each other: precision and recall (Kynkäänniemi 2019), density and coverage (Naeem
2020)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist


class Neighbourhood(NamedTuple):
    """Measures over balls that reach to the k-th nearest neighbour of the same kind."""

    precision: float
    """Share of the drawn images that lie in the ball of a photograph: do they look real?"""
    recall: float
    """Share of the photographs that lie in the ball of a drawn image: could it draw them?"""
    density: float
    """Photographs' balls that a drawn image lies in, over k: as precision, but one odd photograph counts little."""
    coverage: float
    """Share of the photographs whose ball holds a drawn image."""
    group_size: int
    """Drawn images that recall and coverage were computed on at a time."""


def neighbourhood(real: Float[np.ndarray, "n d"], drawn: Float[np.ndarray, "m d"], k: int) -> Neighbourhood:
    """The four measures.

    Recall and coverage rise with the number of drawn images. So both are averages over groups of as many drawn images
    as there are photographs, in their order and without overlap; what is left over at the end does not count for them.

    Raises:
        ValueError: there are no more than k photographs or drawn images, so that a ball has no radius.
    """
    group_size = min(len(real), len(drawn))
    if group_size <= k:
        raise ValueError(f"balls to the neighbour number {k} need more than {k} images of each kind, not {group_size}")
    distances = cdist(real, drawn)
    reach = _radii(real, k)[:, None]
    inside: Bool[np.ndarray, "n m"] = distances <= reach
    recalls, coverages = [], []
    for first in range(0, len(drawn) - group_size + 1, group_size):
        group = slice(first, first + group_size)
        recalls.append((distances[:, group] <= _radii(drawn[group], k)).any(axis=1).mean())
        coverages.append(inside[:, group].any(axis=1).mean())
    return Neighbourhood(
        precision=float(inside.any(axis=0).mean()),
        recall=float(np.mean(recalls)),
        density=float(inside.sum(axis=0).mean() / k),
        coverage=float(np.mean(coverages)),
        group_size=group_size,
    )


def _radii(points: Float[np.ndarray, "n d"], k: int) -> Float[np.ndarray, " n"]:
    """Distance of each point to its k-th nearest neighbour, itself not counted."""
    return np.sort(cdist(points, points), axis=1)[:, k]


def expected_coverage(n: int, m: int, k: int) -> float:
    """Coverage to expect of m images that are drawn as the n photographs were (Naeem 2020, Lemma 2).

    1 minus the chance that the k nearest of all other images are photographs: (n-1)...(n-k) / (n+m-1)...(n+m-k).
    """
    nearest = np.arange(1, k + 1)
    return float(1 - np.prod((n - nearest) / (n + m - nearest)))
