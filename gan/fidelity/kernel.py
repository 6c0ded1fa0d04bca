"""Kernel distance between two clouds of features (KID: Bińkowski 2018), with an interval by the jackknife."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float


class KernelDistance(NamedTuple):
    """The unbiased estimate and its 95 % interval; both ends nan for fewer than three images on a side."""

    value: float
    low: float
    high: float


def polynomial_kernel(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """(a . b / d + 1)^3."""
    kernel: np.ndarray = (a @ b.T / a.shape[1] + 1) ** 3
    return kernel


def kernel_distance(real: Float[np.ndarray, "n d"], drawn: Float[np.ndarray, "m d"]) -> KernelDistance:
    """Squared maximum mean discrepancy under the cubic kernel, by the unbiased estimator over all images (Gretton 2012,
    Eq. 3).

    Its mean over samples is the true distance, whatever the number of images: 0 for equal distributions, so that single
    values may be negative. With few images there is nothing to gain from subsets. nan for fewer than two on a side.

    The interval is value +- t s: s by the jackknife over the images of both sides (Arvesen 1969), t the 97.5 %
    quantile of Student's distribution with as many degrees of freedom as the smaller side has images, less one. In
    simulations with 5 to 20 photographs it held the truth in 91 to 99 of 100 samples, most often where the
    distributions are equal.
    """
    n, m = len(real), len(drawn)
    if min(n, m) < 2:
        return KernelDistance(np.nan, np.nan, np.nan)
    within_real, within_drawn = polynomial_kernel(real, real), polynomial_kernel(drawn, drawn)
    across = polynomial_kernel(real, drawn)
    np.fill_diagonal(within_real, 0)
    np.fill_diagonal(within_drawn, 0)
    sums = within_real.sum(), within_drawn.sum(), across.sum()
    value = float(_estimate(*sums, n, m))
    if min(n, m) < 3:
        return KernelDistance(value, np.nan, np.nan)
    # the estimates with one image left out, of either side
    without_real = _estimate(sums[0] - 2 * within_real.sum(1), sums[1], sums[2] - across.sum(1), n - 1, m)
    without_drawn = _estimate(sums[0], sums[1] - 2 * within_drawn.sum(1), sums[2] - across.sum(0), n, m - 1)
    variance = sum((len(each) - 1) * np.var(each) for each in (without_real, without_drawn))
    from scipy import stats

    reach = float(stats.t.ppf(0.975, min(n, m) - 1) * np.sqrt(variance))
    return KernelDistance(value, value - reach, value + reach)


def _estimate(within_real: Any, within_drawn: Any, across: Any, n: int, m: int) -> Any:
    """From the kernel's sums over pairs of different images, numbers or arrays of them."""
    return within_real / (n * (n - 1)) + within_drawn / (m * (m - 1)) - 2 * across / (n * m)
