"""What makes a picture that picture: its lines and patches, without its colours, its brightness and its black border.

Two photographs of one kind are alike in most of their pixels: the same outline, the same shades. A copy is told by the
fine structure inside. It is kept on a small square, where noise, compression and another resolution change little.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

EDGE = 64
"""Structures are compared on squares of at most so many pixels a side."""

FINE, COARSE = 0.012, 0.03
"""Standard deviations, in edges, of the Gaussians between which structure lies: what is finer is noise, what is coarser
shading."""

RIM = 0.04
"""Width, in edges, of what is left out along a black border, whose contour all pictures share."""

LIT = 0.2
"""A pixel brighter than this part of the picture's bright pixels is no black border."""

SOFTENING = 1.0
"""Contrast, in levels, below which structure fades out instead of being raised to that of the rest."""


def structure(image: UInt8[np.ndarray, "r r c"]) -> Float[np.ndarray, "e e"]:
    """Band-passed brightness with its local contrast evened out, as a vector of length 1; zeros where there is none."""
    small = shrink(image)
    edge = len(small)
    lit = _lit(small)
    grey = small.mean(axis=2) * lit
    fine, coarse = (_blur(grey, size * edge) / _weight(lit, size * edge) for size in (FINE, COARSE))
    band = (fine - coarse) * lit
    contrast = np.sqrt(_blur(band**2, 2 * COARSE * edge) / _weight(lit, 2 * COARSE * edge))
    even = band / (contrast + SOFTENING)
    length = np.linalg.norm(even)
    unit: np.ndarray = (even / max(length, 1e-6)).astype(np.float32)
    return unit


def shrink(image: UInt8[np.ndarray, "r r c"]) -> UInt8[np.ndarray, "e e c"]:
    """The picture on a square of `EDGE`, by means over blocks; one that is no larger as it is. r is a power of two."""
    block = max(1, len(image) // EDGE)
    edge = len(image) // block
    levels: np.ndarray = np.rint(image.reshape(edge, block, edge, block, -1).mean(axis=(1, 3))).astype(np.uint8)
    return levels


def _lit(small: UInt8[np.ndarray, "e e c"]) -> Bool[np.ndarray, "e e"]:
    """Where there is a picture, a rim of it left out."""
    brightness = ndimage.uniform_filter(small.max(axis=2).astype(np.float64), 3)
    lit = brightness > LIT * np.percentile(brightness, 90)
    inner: np.ndarray = ndimage.binary_erosion(lit, iterations=max(1, round(RIM * len(small))), border_value=1)
    return inner


def _blur(values: Float[np.ndarray, "e e"], sigma: float) -> Float[np.ndarray, "e e"]:
    blurred: np.ndarray = ndimage.gaussian_filter(values, sigma, mode="constant")
    return blurred


def _weight(lit: Bool[np.ndarray, "e e"], sigma: float) -> Float[np.ndarray, "e e"]:
    """How much of a blurred pixel comes from lit ones: dividing by it leaves the dark ones out."""
    share: np.ndarray = np.maximum(_blur(lit.astype(np.float64), sigma), 1e-6)
    return share
