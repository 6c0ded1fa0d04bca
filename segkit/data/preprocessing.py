"""Channels, contrast and light of an image before a network, and what is fitted on training images.

Everything here maps 8-bit images to 8-bit images of the same size, once per image and before augmentation. What depends
on the crop or on fitted numbers happens in front of the network (`segkit.models.normalization`).
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from segkit.core.arrays import Bools, Pixels
from segkit.core.images import from_unit
from segkit.data.settings import PreprocessingSettings

Floats = npt.NDArray[np.float64]

IMAGE_MEAN, IMAGE_DEVIATION = 0.5, 0.1
"""Mean and standard deviation of an image normalised by itself, in 8 bits from 0 to 1: five deviations fit each way."""


def preprocess(image: Pixels, region: Bools, settings: PreprocessingSettings) -> Pixels:
    """The image as the settings ask for.

    Args:
        image: (h, w, 3).
        region: (h, w), the pixels that `normalization: image` is computed from; all of them if it is empty.

    Returns:
        (h, w, c), with 3 channels for `rgb` and 1 for `green` and `grey`.
    """
    image = _channels(image, settings.channels)
    if settings.clahe_clip_limit is not None:
        image = _clahe(image, settings.clahe_clip_limit, settings.clahe_grid)
    if settings.gamma != 1:
        levels = np.linspace(0, 1, 256) ** settings.gamma
        image = from_unit(levels)[image]
    return standardised(image, region) if settings.normalization == "image" else image


def _channels(image: Pixels, channels: str) -> Pixels:
    import cv2

    if channels == "green":
        return np.ascontiguousarray(image[..., 1:2])
    if channels == "grey":
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], dtype=np.uint8)
    return image


def _clahe(image: Pixels, clip_limit: float, grid: int) -> Pixels:
    import cv2

    equalise = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=(grid, grid)).apply
    if image.shape[2] == 1:
        return np.asarray(equalise(image[..., 0])[..., None], dtype=np.uint8)
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = equalise(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)


def standardised(image: Pixels, region: Bools) -> Pixels:
    """Each channel of an image (h, w, c) with `IMAGE_MEAN` and `IMAGE_DEVIATION` inside the region (h, w)."""
    inside = image[region] if region.any() else image.reshape(-1, image.shape[2])
    mean, deviation = inside.mean(axis=0), np.maximum(inside.std(axis=0), 1.0)
    scores = (np.arange(256)[:, None] - mean) / deviation
    table = from_unit(IMAGE_MEAN + IMAGE_DEVIATION * scores)
    return np.stack([table[image[..., channel], channel] for channel in range(image.shape[2])], axis=2)


def channel_statistics(images: Iterable[tuple[Pixels, Bools]]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each channel, in values from 0 to 1, over the regions of all images together.

    Each image (h, w, c) comes with its region (h, w).
    """
    counts = sum(
        np.stack([np.bincount(image[region, channel], minlength=256) for channel in range(image.shape[2])])
        for image, region in images
    )
    levels = np.arange(256) / 255
    shares = np.asarray(counts) / np.maximum(np.sum(counts, axis=1, keepdims=True), 1)
    mean = shares @ levels
    return mean, np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))


def whitening(patches: Iterator[Sequence[Pixels]], epsilon: float) -> tuple[Floats, Floats]:
    """Mean (d) and matrix (d, d) of ZCA whitening: `matrix @ (values - mean)` has the identity as its covariance.

    The matrix is U diag((s + epsilon)^-1/2) U^T for the covariance U diag(s) U^T (Krizhevsky 2009, Appendix A). Memory
    is bounded by the matrix, for mean and covariance are updated by a batch at a time (Chan 1983).

    Args:
        patches: batches of patches (h, w, c); d = c * h * w, channel by channel and row by row.
        epsilon: added to the variances, in squared values from 0 to 1.
    """
    count, mean, scatter = 0, np.zeros(1), np.zeros((1, 1))
    for batch in patches:
        values = np.stack([patch.transpose(2, 0, 1).ravel() for patch in batch]) / 255
        shift = values.mean(axis=0) - mean
        centred = values - values.mean(axis=0)
        total = count + len(values)
        scatter = scatter + centred.T @ centred
        scatter += np.outer(shift, shift * (count * len(values) / total))
        mean = mean + shift * (len(values) / total)
        count = total
    variances, directions = np.linalg.eigh(scatter / count)
    return mean, (directions / np.sqrt(np.maximum(variances, 0) + epsilon)) @ directions.T
