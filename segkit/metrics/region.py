"""Where pixels count: the field of view first, the whole rectangle for comparison with papers that use it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Region = Literal["fov", "all-pixels"]
REGIONS: tuple[Region, ...] = ("fov", "all-pixels")

Averaging = Literal["pooled", "per-image"]
AVERAGINGS: tuple[Averaging, ...] = ("pooled", "per-image")


def region_pixels(region: Region, fov: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that count, bool and of `fov`'s shape."""
    return fov.astype(bool) if region == "fov" else np.ones(fov.shape, dtype=bool)
