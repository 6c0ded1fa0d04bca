"""Predictions drawn onto their image."""

import numpy as np
import numpy.typing as npt

from segkit.core.classes import Classes


def draw_classes(
    image: npt.NDArray[np.uint8], labels: npt.NDArray[np.bool_] | npt.NDArray[np.integer], classes: Classes
) -> npt.NDArray[np.uint8]:
    """The image in dimmed grey (h, w, 3) with each class in its colour; of several classes, all but the first.

    Args:
        image: (h, w, 3).
        labels: (h, w), bool in a binary task, else class indices.
        classes: names and colours.
    """
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    picture = np.repeat((0.5 * grey)[..., None], 3, axis=2).astype(np.uint8)
    if classes.kind == "binary":
        picture[labels.astype(bool)] = classes.palette[0]
        return picture
    for index, color in list(enumerate(classes.palette))[1:]:
        picture[labels == index] = color
    return picture
