"""Predictions drawn onto their image."""

import numpy as np
import numpy.typing as npt

from segkit.core.arrays import Bools, Pixels
from segkit.core.classes import Classes


def draw_classes(image: Pixels, labels: Bools | npt.NDArray[np.integer], classes: Classes) -> Pixels:
    """The image in dimmed grey (h, w, 3) with each class in its colour; of several classes, all but the first.

    `image` is (h, w, 3); `labels` (h, w) are bool in a binary task, else class indices.
    """
    picture = dimmed(image)
    if classes.kind == "binary":
        picture[labels.astype(bool)] = classes.palette[0]
        return picture
    for index, color in list(enumerate(classes.palette))[1:]:
        picture[labels == index] = color
    return picture


def dimmed(image: Pixels) -> Pixels:
    """The image (h, w, 3) in grey at half its luma, as a ground for colours."""
    luma = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat((0.5 * luma)[..., None], 3, axis=2).astype(np.uint8)
