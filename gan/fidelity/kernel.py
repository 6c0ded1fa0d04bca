"""Kernel distance between two clouds of features (KID: Bińkowski 2018), with an interval by the jackknife."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from segkit.core.groups import group_numbers


class KernelDistance(NamedTuple):
    """The unbiased estimate and its 95 % interval; both ends nan for fewer than three images on a side."""

    value: float
    low: float
    high: float


def polynomial_kernel(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """(a . b / d + 1)^3."""
    kernel: np.ndarray = (a @ b.T / a.shape[1] + 1) ** 3
    return kernel


def kernel_distance(
    real: Float[np.ndarray, "n d"],
    drawn: Float[np.ndarray, "m d"],
    real_groups: Sequence[str] | None = None,
    drawn_groups: Sequence[str] | None = None,
) -> KernelDistance:
    """Squared maximum mean discrepancy under the cubic kernel, by the unbiased estimator over all images (Gretton 2012,
    Eq. 3).

    Its mean over samples is the true distance for any number of images: 0 for equal distributions, so single values may
    be negative. It uses all images instead of subsets. nan for fewer than two on a side.

    The groups are the patients of the images of either side, by default one for each. Two images of one patient are not
    independent, so only pairs of different patients count within a side, and the minimum numbers are of patients.

    The interval is value +- t s: s by the jackknife over the patients of both sides (Arvesen 1969), t the 97.5 %
    quantile of Student's distribution with as many degrees of freedom as the smaller side has patients, less one. In
    simulations with 5 to 20 photographs it contained the true value in 91 to 99 of 100 samples, most often for equal
    distributions.
    """
    patients = [
        np.arange(len(side)) if groups is None else group_numbers(groups)
        for side, groups in ((real, real_groups), (drawn, drawn_groups))
    ]
    num_patients = [len(np.unique(numbers)) for numbers in patients]
    if min(num_patients) < 2:
        return KernelDistance(np.nan, np.nan, np.nan)
    within_real, within_drawn = polynomial_kernel(real, real), polynomial_kernel(drawn, drawn)
    across = polynomial_kernel(real, drawn)
    for within, numbers in zip((within_real, within_drawn), patients, strict=True):
        within[numbers[:, None] == numbers] = 0
    total = within_real.sum(), within_drawn.sum(), across.sum()
    real_size, drawn_size = (_Size.of(np.bincount(numbers)) for numbers in patients)
    value = float(_estimate(*total, real_size, drawn_size))
    if min(num_patients) < 3:
        return KernelDistance(value, np.nan, np.nan)
    # the estimates with one patient left out, of either side; the kernel between a patient's own images is 0 here
    real_sums, real_across = (np.bincount(patients[0], sums) for sums in (within_real.sum(1), across.sum(1)))
    drawn_sums, drawn_across = (np.bincount(patients[1], sums) for sums in (within_drawn.sum(1), across.sum(0)))
    without_real = _estimate(
        total[0] - 2 * real_sums, total[1], total[2] - real_across, real_size.without_each(patients[0]), drawn_size
    )
    without_drawn = _estimate(
        total[0], total[1] - 2 * drawn_sums, total[2] - drawn_across, real_size, drawn_size.without_each(patients[1])
    )
    variance = sum((len(estimates) - 1) * np.var(estimates) for estimates in (without_real, without_drawn))
    from scipy import stats

    reach = float(stats.t.ppf(0.975, min(num_patients) - 1) * np.sqrt(variance))
    return KernelDistance(value, value - reach, value + reach)


class _Size(NamedTuple):
    """Images of one side, and ordered pairs of images of different patients; numbers or arrays of them."""

    images: Any
    pairs: Any

    @classmethod
    def of(cls, per_patient: Int[np.ndarray, " g"]) -> "_Size":
        """Of all patients, given the images of each."""
        return cls(per_patient.sum(), per_patient.sum() ** 2 - np.square(per_patient).sum())

    def without_each(self, patients: Int[np.ndarray, " n"]) -> "_Size":
        """With one patient left out, for each patient."""
        left_out = np.bincount(patients)
        return _Size(self.images - left_out, self.pairs - 2 * left_out * (self.images - left_out))


def _estimate(within_real: Any, within_drawn: Any, across: Any, n: _Size, m: _Size) -> Any:
    """From the kernel's sums over pairs of different patients, numbers or arrays of them."""
    return within_real / n.pairs + within_drawn / m.pairs - 2 * across / (n.images * m.images)
