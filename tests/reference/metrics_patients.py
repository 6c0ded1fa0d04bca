"""Bootstrap and sign-flip test over patients the plain way: draw patients, gather all their images, compute anew."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np


def percentile_interval(
    groups: Sequence[str], value: Callable[[list[int]], float], num_resamples: int, seed: int
) -> tuple[float, float]:
    """2.5 % and 97.5 % points of `value` of the images (by index) of as many patients as there are, drawn with
    replacement (Davison 1997, section 3.8)."""
    rng = np.random.default_rng(seed)
    patients = sorted(set(groups))
    values = []
    for _ in range(num_resamples):
        drawn = rng.choice(patients, len(patients))
        values.append(value([index for patient in drawn for index, group in enumerate(groups) if group == patient]))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def sign_flip_p(groups: Sequence[str], difference: Callable[[list[bool]], float]) -> float:
    """Share of all ways to swap two runs, patient by patient, with at least the difference that was measured.

    `difference` takes for each image whether the runs are swapped.
    """
    patients = sorted(set(groups))
    observed = abs(difference([False] * len(groups)))
    ways = []
    for swapped in itertools.product([False, True], repeat=len(patients)):
        by_patient = dict(zip(patients, swapped, strict=True))
        ways.append(abs(difference([by_patient[group] for group in groups])) >= observed - 1e-12)
    return float(np.mean(ways))
