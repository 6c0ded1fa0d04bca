"""All measures of one set of images against the photographs, each with sample sizes and a note."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gan.fidelity.frechet import frechet_distance
from gan.fidelity.kernel import kernel_distance
from gan.fidelity.neighbours import expected_coverage, has_neighbours, neighbourhood
from gan.fidelity.shares import share_of

MANY = 2048
"""Below so many images on a side, the Fréchet distance is biased far more than the networks differ (Heusel 2017)."""


@dataclass(frozen=True)
class Estimate:
    """One number."""

    measure: str
    """One of "kid", "fid", "precision", "recall", "density", "coverage"."""
    value: float | None
    """None for too few images; the note gives the reason."""
    low: float | None
    """Lower end of the 95 % interval, if there is one."""
    high: float | None
    num_real: int
    num_drawn: int
    note: str
    """Bias, neighbours and the like."""

    def key(self, reference: str, features: str) -> str:
        """Its name in logs, as in `kid1k_drive_train20_teacher`: drawn images, reference, features."""
        return f"{self.measure}{short(self.num_drawn)}_{reference}{self.num_real}_{features}"


def short(number: int) -> str:
    """1000 as "1k", 2500 as "2500"."""
    return f"{number // 1000}k" if number and number % 1000 == 0 else str(number)


def measure(
    real: Float[np.ndarray, "n d"],
    drawn: Float[np.ndarray, "m d"],
    k: int,
    real_groups: Sequence[str] | None = None,
    drawn_groups: Sequence[str] | None = None,
) -> list[Estimate]:
    """KID, FID, precision, recall, density and coverage of features.

    Args:
        real: of the photographs, at least two.
        drawn: of the images to measure.
        k: neighbour whose distance is the radius for the last four.
        real_groups: patient of each photograph, by default one for each.
        drawn_groups: patient of each image to measure, if these are photographs too.
    """
    sizes = len(real), len(drawn)
    kid, low, high = (_finite(end) for end in kernel_distance(real, drawn, real_groups, drawn_groups))
    return [
        Estimate("kid", kid, low, high, *sizes, "unbiased; 0 for equal distributions"),
        Estimate("fid", _finite(frechet_distance(real, drawn)), None, None, *sizes, _bias(*sizes, real.shape[1])),
        *_shares(real, drawn, k, real_groups, drawn_groups),
    ]


def _bias(num_real: int, num_drawn: int, dimension: int) -> str:
    sizes = f"{num_real} photographs, {num_drawn} images, {dimension} features"
    if min(num_real, num_drawn) < MANY:
        return f"biased upwards ({sizes}): compare only values of equal sizes"
    return sizes


def _shares(
    real: Float[np.ndarray, "n d"],
    drawn: Float[np.ndarray, "m d"],
    k: int,
    real_groups: Sequence[str] | None,
    drawn_groups: Sequence[str] | None,
) -> list[Estimate]:
    names, sizes = ("precision", "recall", "density", "coverage"), (len(real), len(drawn))
    if not (has_neighbours(len(real), k, real_groups) and has_neighbours(min(sizes), k, drawn_groups)):
        note = f"k = {k} needs more than {k} images on both sides"
        return [Estimate(name, None, None, None, *sizes, note) for name in names]
    shares = neighbourhood(real, drawn, k, real_groups, drawn_groups)
    interval = share_of(
        round(shares.precision * len(drawn)), len(drawn), None if drawn_groups is None else len(set(drawn_groups))
    )
    group = f"k = {k}, mean over groups of {shares.group_size} images"
    ideal = expected_coverage(len(real), shares.group_size, k, real_groups)
    return [
        Estimate(
            "precision",
            shares.precision,
            interval.low,
            interval.high,
            *sizes,
            f"k = {k}, interval for these photographs",
        ),
        Estimate("recall", shares.recall, None, None, *sizes, group),
        Estimate("density", shares.density, None, None, *sizes, f"k = {k}, 1 for equal distributions"),
        Estimate("coverage", shares.coverage, None, None, *sizes, f"{group}, {ideal:.2f} for equal distributions"),
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
