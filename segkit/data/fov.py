"""The field of view of images without a mask, such as generated images."""

import numpy as np

from segkit.core import images
from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.classes import Classes
from segkit.core.manifest import Row

MIN_DARK_BORDER = 0.02
"""If a smaller share of the frame pixels is dark, the image has no border and is all field of view."""

SHARE_OF_RETINA = 0.25
"""Threshold between the brightness of the border (0) and of the retina (1)."""

MIN_CONTRAST = 4
"""An image whose every channel varies by fewer levels than this shows nothing."""


def is_blank(image: Pixels) -> bool:
    """Whether an image (h, w, 3) shows nothing, as a wholly black one."""
    parts = (image[::16, ::16], image)  # few pixels settle it for nearly all images
    return all(np.ptp(part.reshape(-1, image.shape[-1]), axis=0).max() < MIN_CONTRAST for part in parts)


def estimate_fov(image: Pixels) -> Bools:
    """The illuminated disc of a fundus image (h, w, 3) as bool (h, w).

    The brightness of a pixel is its largest channel, so reddish and dark retinae are included. The threshold is just
    above the level of the darkest corner. The result is the largest component, holes filled and thin spurs removed.
    Without a dark border the whole image is field of view.
    """
    from scipy import ndimage

    height, width = image.shape[:2]
    largest = np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])  # faster than a maximum along an axis
    brightness = ndimage.uniform_filter(largest.astype(np.float32), size=3)
    lit = brightness > _dark_level(brightness)
    frame = np.concatenate([lit[0], lit[-1], lit[:, 0], lit[:, -1]])
    if 1 - frame.mean() < MIN_DARK_BORDER or not lit.any():
        return np.ones((height, width), dtype=np.bool_)
    components, _ = ndimage.label(lit)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    filled = ndimage.binary_fill_holes(components == sizes.argmax())
    return _opened(np.asarray(filled), radius=max(1, round(0.01 * min(height, width))))


def _dark_level(brightness: Floats) -> float:
    """Brightness threshold: the level of the darkest corner plus a part of the difference to the retina."""
    side = max(2, min(brightness.shape) // 32)
    ends = (slice(0, side), slice(-side, None))
    corners = [brightness[rows, columns] for rows in ends for columns in ends]
    floor, spread = min((float(np.median(corner)), float(np.std(corner))) for corner in corners)
    retina = float(np.percentile(brightness, 75))
    if floor > 0.5 * retina:  # the corner is retina
        return -1.0
    return floor + max(SHARE_OF_RETINA * (retina - floor), 3 * spread, 2.0)


def _opened(mask: Bools, radius: int) -> Bools:
    """Morphological opening by a disc, computed from distances, whose time does not depend on the radius."""
    # Edge padding keeps the corners of a disc that the image cuts off.
    padded = np.pad(mask, radius + 1, mode="edge")
    eroded = _distance_to_false(padded) > radius
    if not eroded.any():
        return mask
    opened = _distance_to_false(~eroded) <= radius
    inner = slice(radius + 1, -radius - 1)
    return np.asarray(opened[inner, inner])


def _distance_to_false(mask: Bools) -> Floats:
    """Euclidean distance of each pixel (h, w) to the nearest pixel that is False; SciPy's takes four times as long."""
    import cv2

    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def read_region(row: Row, classes: Classes, image: Pixels | None = None) -> Bools:
    """The pixels (h, w) of a row that count: its mask, or else the field of view that its image shows, if it has one.

    Args:
        classes: of the manifest; say whether the images have a field of view.
        image: the row's image (h, w, 3) if it is decoded already; else it is read where it is needed.
    """
    if row.region is not None:
        return images.read_mask(*row.region)
    if image is None:
        image = images.read_image(*row.image)
    return default_region(image, classes)


def default_region(image: Pixels, classes: Classes) -> Bools:
    """The pixels (h, w) of an image (h, w, 3) without a mask that count: its field of view, or all."""
    return estimate_fov(image) if classes.field_of_view else np.ones(image.shape[:2], np.bool_)


def fov_diameter(region: Bools) -> int | None:
    """Diameter of a field of view (h, w) in pixels, also where the frame cuts it; None where no diameter is in view."""
    for axis in (0, 1):
        lit = np.flatnonzero(region.any(axis=axis))
        if lit.size and lit[0] > 0 and lit[-1] < region.shape[1 - axis] - 1:
            return int(lit[-1] - lit[0] + 1)
    return None
