"""Precision and recall (Kynkäänniemi 2019)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from segkit.core.groups import patients_of


def precision_and_recall(
    real: Float[np.ndarray, "n d"],
    drawn: Float[np.ndarray, "m d"],
    k: int,
    real_groups: Sequence[str] | None = None,
    drawn_groups: Sequence[str] | None = None,
) -> tuple[float, float]:
    """Share of drawn images near a photograph, and of photographs near a drawn image.

    Near is within the ball around an image whose radius is the distance to its k-th nearest neighbour of the same kind.
    Images of one patient do not count as neighbours of each other, because a patient's other eye would make the balls
    too small. The groups are the patients of the real and of the drawn images, by default a different one for each.

    Recall rises with the number of drawn images. So it is the average over successive groups of as many drawn images as
    there are photographs; an incomplete last group is left out.

    Raises:
        ValueError: an image has fewer than k others of other patients on its side.
    """
    size = min(len(real), len(drawn))
    if not (has_neighbours(len(real), k, real_groups) and has_neighbours(size, k, drawn_groups)):
        raise ValueError(f"balls to the neighbour number {k} need more than {k} images of each kind, not {size}")
    distances, patients = cdist(real, drawn), patients_of(len(drawn), drawn_groups)
    near_photograph = distances <= _radii(real, k, patients_of(len(real), real_groups))[:, None]
    recalls = []
    for first in range(0, len(drawn) - size + 1, size):
        group = slice(first, first + size)
        near_drawn = distances[:, group] <= _radii(drawn[group], k, patients[group])
        recalls.append(near_drawn.any(axis=1).mean())
    return float(near_photograph.any(axis=0).mean()), float(np.mean(recalls))


def has_neighbours(num_images: int, k: int, groups: Sequence[str] | None) -> bool:
    """Whether in any `num_images` of the images each has k others of other patients."""
    return num_images - (max(Counter(groups).values()) if groups else 1) >= k


def _radii(points: Float[np.ndarray, "n d"], k: int, patients: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Distance of each point to its k-th nearest neighbour of another patient."""
    others = patients[:, None] != patients
    return np.sort(np.where(others, cdist(points, points), np.inf), axis=1)[:, k - 1]
