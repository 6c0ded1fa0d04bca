"""Predict images of other cameras at the calibre of vessels that the network was trained on."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.classes import Classes
from segkit.core.manifest import Row
from segkit.data.fov import fov_diameter, is_blank, read_region
from segkit.data.geometry import Geometry
from segkit.tasks.prediction import Predictor, inside_region
from segkit.tasks.settings import InferenceSettings

TOLERANCE = 0.1
"""An image whose field of view differs by less than this from the training images' is not resampled."""

MIN_SHARE = 0.125
"""Share of an image's longer side. A lit spot of a smaller diameter is no fundus: an image is not enlarged for it,
because a spot of a few pixels would make it too large for any memory."""

Diameters = tuple[int, int]
"""Smallest and largest diameter of the training images' fields of view, in pixels."""


def diameters(rows: Iterable[Row], classes: Classes) -> Diameters | None:
    """The range of the fields of view of rows; None where an image shows no border of it."""
    values = [fov_diameter(read_region(row, classes)) for row in rows]
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known and len(known) == len(values) else None


def scale_factor(scale: Literal["auto"] | float, trained: Diameters | None, region: Bools) -> float:
    """The factor on an image's size: that of the settings, or the one that brings its field of view into the range.

    Args:
        scale: as `InferenceSettings.scale`.
        trained: of the model's training images; None if unknown.
        region: field of view (h, w) of the image.
    """
    if scale != "auto":
        return scale
    diameter = fov_diameter(region)
    if trained is None or diameter is None:
        return 1.0
    low, high = trained
    if diameter < low * (1 - TOLERANCE):
        return low / diameter if diameter >= MIN_SHARE * max(region.shape) else 1.0
    return high / diameter if diameter > high * (1 + TOLERANCE) else 1.0


def predict_image(predictor: Predictor, image: Pixels, region: Bools, inference: InferenceSettings) -> Floats:
    """Probabilities (k, h, w) of an image (h, w, 3) at its own size, as `inside_region`; of a blank one as outside."""
    if is_blank(image):
        region = np.zeros_like(region)
    factor = scale_factor(inference.scale, predictor.fov_diameters, region)
    height, width = image.shape[:2]
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    if size == (height, width):
        return inside_region(predictor(image, inference, region), region)
    plan = Geometry.resize(height, width, *size)
    probs = predictor(plan.image(image), inference, plan.region(region))
    return inside_region(plan.restore_probs(probs), region)
