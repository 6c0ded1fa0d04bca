"""Shares of images with what their number allows to say."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """`count` of `n`, with the exact 95 % interval (Clopper 1934)."""

    count: int
    n: int
    value: float
    low: float
    high: float


def share_of(count: int, n: int) -> Share:
    """The share and its interval; nan, from 0 to 1, of nothing."""
    if n == 0:
        return Share(0, 0, float("nan"), 0.0, 1.0)
    from scipy.stats import binomtest

    interval = binomtest(count, n).proportion_ci(0.95, method="exact")
    return Share(count, n, count / n, float(interval.low), float(interval.high))
