"""The two wavelets that resample and filter images (Daubechies 1992), and the filter bank made of one."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

# Low-pass decomposition filter of the symlet with six vanishing moments, scaled to sum to sqrt(2).
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
# The one with two vanishing moments, in closed form.
SYM2 = tuple((a + b * math.sqrt(3)) / (4 * math.sqrt(2)) for a, b in ((1, -1), (3, -1), (3, 1), (1, 1)))

NUM_BANDS = 4


def low_pass() -> Float[Tensor, " 12"]:
    """SYM6 with a gain of one at frequency zero, for resampling."""
    return torch.tensor(SYM6, dtype=torch.float64).div(sum(SYM6)).float()


def filter_bank() -> Float[Tensor, "4 43"]:
    """Zero-phase filters of the bands [0, pi/8], [pi/8, pi/4], [pi/4, pi/2] and [pi/2, pi], lowest first.

    H(z) being sym2, P(z) = H(z) H(1/z) / 2 passes the lower half of the spectrum and Q(z) = P(-z) the upper; since the
    wavelet is orthonormal, P + Q = 1. They split a signal; the lower half is split again at half the rate, by P(z^2)
    and Q(z^2), and once more. The four filters sum to one.
    """
    low = np.convolve(SYM2, SYM2[::-1]) / 2
    high = low * (-1.0) ** (np.arange(low.size) - low.size // 2)
    bands, passed = [], np.ones(1)
    for level in range(NUM_BANDS - 1):
        bands.append(np.convolve(passed, _at_power(high, 2**level)))
        passed = np.convolve(passed, _at_power(low, 2**level))
    bands.append(passed)
    centred = [np.pad(band, (passed.size - band.size) // 2) for band in reversed(bands)]
    return torch.from_numpy(np.stack(centred)).float()


def _at_power(taps: np.ndarray, power: int) -> np.ndarray:
    """The filter in z^power: its taps with zeros between them."""
    sparse = np.zeros((taps.size - 1) * power + 1)
    sparse[::power] = taps
    return sparse
