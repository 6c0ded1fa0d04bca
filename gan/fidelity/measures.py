"""All measures of one set of images against the photographs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gan.fidelity.frechet import frechet_distance
from gan.fidelity.kernel import kernel_distance
from gan.fidelity.neighbours import has_neighbours, precision_and_recall


@dataclass(frozen=True)
class Number:
    """A value with the ends of its 95 % interval; None where there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, low: float = math.nan, high: float = math.nan) -> "Number":
        """With None for nan."""
        return cls(*(float(part) if math.isfinite(part) else None for part in (value, low, high)))


def share(count: int, n: int, num_groups: int | None = None) -> Number:
    """`count` of `n` images with the exact 95 % interval (Clopper 1934).

    If the n images are of fewer patients, `num_groups`, the interval is that of the same share of `num_groups` images,
    as if all images of a patient were equal.
    """
    from scipy.stats import beta

    size = min(n, num_groups or n)
    hits = size * count / n
    low = beta.ppf(0.025, hits, size - hits + 1) if count else 0.0
    high = beta.ppf(0.975, hits + 1, size - hits) if count < n else 1.0
    return Number.of(count / n, low, high)


def measure(
    real: Float[np.ndarray, "n d"],
    drawn: Float[np.ndarray, "m d"],
    k: int,
    real_groups: Sequence[str] | None = None,
    drawn_groups: Sequence[str] | None = None,
) -> dict[str, Number]:
    """KID, FID, precision and recall of features, by name.

    KID has an interval, and precision has one for these photographs. Too few images have no value.

    Args:
        real: of the photographs, at least two.
        drawn: of the images to measure.
        k: neighbour whose distance is the radius for precision and recall.
        real_groups: patient of each photograph, by default one for each.
        drawn_groups: patient of each image to measure, if these are photographs too.
    """
    numbers = {
        "kid": Number.of(*kernel_distance(real, drawn, real_groups, drawn_groups)),
        "fid": Number.of(frechet_distance(real, drawn)),
        "precision": Number(),
        "recall": Number(),
    }
    if has_neighbours(len(real), k, real_groups) and has_neighbours(min(len(real), len(drawn)), k, drawn_groups):
        precision, recall = precision_and_recall(real, drawn, k, real_groups, drawn_groups)
        num_groups = len(set(drawn_groups)) if drawn_groups else None
        numbers["precision"] = share(round(precision * len(drawn)), len(drawn), num_groups)
        numbers["recall"] = Number(recall)
    return numbers
