"""Structure of an image: its lines and patches, without colours, brightness and black border.

Photographs of one kind share outline and shades, so copies are detected by the fine structure. It is computed on a
small square, where noise, compression and another resolution change little.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

EDGE = 64
"""Maximum side of the squares in pixels."""

FINE, COARSE = 0.012, 0.03
"""Standard deviations, in edges, of the band-pass Gaussians: finer is noise, coarser is shading."""

RIM = 0.04
"""Width, in edges, of the rim left out along a black border, whose contour all images share."""

LIT = 0.2
"""Pixels below this share of the image's bright pixels are black border."""

SOFTENING = 1.0
"""Contrast, in levels, below which structure is attenuated instead of normalised."""


def structure(image: UInt8[np.ndarray, "r r c"]) -> Float[np.ndarray, "e e"]:
    """Band-passed brightness with normalised local contrast, as a vector of length 1; zeros for a flat image."""
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
    """The image on a square of side `EDGE`, by means over blocks; smaller images stay. r is a power of two."""
    block = max(1, len(image) // EDGE)
    edge = len(image) // block
    levels: np.ndarray = np.rint(image.reshape(edge, block, edge, block, -1).mean(axis=(1, 3))).astype(np.uint8)
    return levels


def _lit(small: UInt8[np.ndarray, "e e c"]) -> Bool[np.ndarray, "e e"]:
    """Pixels inside the black border, without a rim."""
    brightness = ndimage.uniform_filter(small.max(axis=2).astype(np.float64), 3)
    lit = brightness > LIT * np.percentile(brightness, 90)
    inner: np.ndarray = ndimage.binary_erosion(lit, iterations=max(1, round(RIM * len(small))), border_value=1)
    return inner


def _blur(values: Float[np.ndarray, "e e"], sigma: float) -> Float[np.ndarray, "e e"]:
    blurred: np.ndarray = ndimage.gaussian_filter(values, sigma, mode="constant")
    return blurred


def _weight(lit: Bool[np.ndarray, "e e"], sigma: float) -> Float[np.ndarray, "e e"]:
    """Share of lit pixels in a blurred pixel; dividing by it leaves dark pixels out."""
    share: np.ndarray = np.maximum(_blur(lit.astype(np.float64), sigma), 1e-6)
    return share
