"""Shares of images with intervals."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """`count` of `n` images, with the exact 95 % interval (Clopper 1934)."""

    count: int
    n: int
    value: float
    low: float
    high: float


def share_of(count: int, n: int, num_groups: int | None = None) -> Share:
    """The share and its interval; of 0 images nan, from 0 to 1.

    If the n images are of fewer patients, `num_groups`, the interval is that of the same share of `num_groups` images,
    as if all images of a patient were equal.
    """
    if n == 0:
        return Share(0, 0, float("nan"), 0.0, 1.0)
    if num_groups is not None and num_groups < n:
        value = count / n
        return Share(count, n, value, 1 - _upper_end(1 - value, num_groups), _upper_end(value, num_groups))
    from scipy.stats import binomtest

    interval = binomtest(count, n).proportion_ci(0.95, method="exact")
    return Share(count, n, count / n, float(interval.low), float(interval.high))


def images_to_settle(share: Share, limit: float) -> int | None:
    """Number of images from which the interval of an unchanged share ends at `limit` or below; None if there is none.

    Args:
        limit: in [0, 1].
    """
    if math.isnan(share.value) or share.value >= limit:
        return None
    low, high = 0, 1
    while _upper_end(share.value, high) > limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _upper_end(share.value, middle) <= limit else (middle, high)
    return high


def _upper_end(value: float, n: int) -> float:
    """Upper end of the interval of a share of n images."""
    from scipy.stats import beta

    return float(beta.ppf(0.975, value * n + 1, n - value * n)) if value < 1 else 1.0
