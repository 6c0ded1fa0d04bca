"""Scoring regions: the field of view, or all pixels for comparison with papers that use them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Region = Literal["fov", "all-pixels"]
REGIONS: tuple[Region, ...] = ("fov", "all-pixels")

REGION_TEXTS: dict[Region, str] = {"fov": "inside the field of view", "all-pixels": "all pixels"}

Averaging = Literal["pooled", "per-image"]
AVERAGINGS: tuple[Averaging, ...] = ("pooled", "per-image")


def region_pixels(region: Region, fov: NDArray[np.generic]) -> NDArray[np.bool_]:
    """The pixels of a region, bool, with the shape of `fov`."""
    return fov.astype(bool) if region == "fov" else np.ones(fov.shape, dtype=bool)
