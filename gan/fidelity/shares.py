"""Shares of images with what their number allows to say."""

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
    """The share and its interval; nan, from 0 to 1, of nothing.

    Where the n images are of fewer patients, `num_groups` of them, the interval is that of the same share of so many
    images: as wide as if a patient's images were all alike.
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
    """How many images it takes for the interval of an unchanged share to end at `limit` or below; None for no number.

    Args:
        limit: in [0, 1].
    """
    if share.value != share.value or share.value >= limit:
        return None
    low, high = 0, 1
    while _upper_end(share.value, high) > limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _upper_end(share.value, middle) <= limit else (middle, high)
    return high


def _upper_end(value: float, n: int) -> float:
    """Of the interval, with as many of the n images as the share has, whole or not."""
    from scipy.stats import beta

    return float(beta.ppf(0.975, value * n + 1, n - value * n)) if value < 1 else 1.0
