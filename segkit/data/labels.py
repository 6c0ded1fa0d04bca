"""Label maps and probabilities on disk, binary or multi-class. Other modules do not distinguish the two file forms.

Binary maps are white on black. Multi-class maps hold class indices, or the colours of `Classes.colors`. Probabilities
are 16 bit: one page for a binary task, one page per class for several classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segkit.core import images
from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.classes import Classes
from segkit.core.errors import DatasetError
from segkit.core.manifest import Source

Labels = npt.NDArray[Any]  # the dtype depends on the classes
"""(h, w): bool in a binary task, else class indices."""


def read_labels(source: Source, classes: Classes) -> Labels:
    """The label map (h, w) of a file.

    Raises:
        ImageError: the file cannot be read.
        DatasetError: a colour-coded map has a colour that is no class's.
    """
    if classes.kind == "binary":
        return images.read_mask(source.path, source.frame)
    if not classes.colors:
        return images.read_indices(source.path, source.frame)
    try:
        return _color_coded(source, classes)
    except DatasetError as error:
        raise DatasetError(f"{source}: {error}") from error


def _color_coded(source: Source, classes: Classes) -> Pixels:
    """Class indices (h, w) of a map that shows each class in its colour, or that holds indices all the same."""
    numbers, colors = images.read_codes(source.path, source.frame)
    indices = numbers if numbers is not None and classes.known(numbers).all() else None
    if colors is None:
        assert numbers is not None
        return classes.indices(np.repeat(numbers[:, :, None], 3, axis=2)) if indices is None else indices
    try:
        return classes.indices(colors)
    except DatasetError:
        if indices is None:
            raise
        return indices


def probs_path(folder: Path, name: str, classes: Classes) -> Path:
    """Path of the probabilities of an image: PNG in a binary task, else multi-page TIFF."""
    return folder / f"{name}{'.png' if classes.kind == 'binary' else '.tif'}"


def read_levels(path: Path, classes: Classes) -> npt.NDArray[np.uint16]:
    """16-bit levels of probabilities: (h, w) in a binary task, else (k, h, w).

    Raises:
        ImageError: the file cannot be read, or has too few pages.
    """
    if classes.kind == "binary":
        return images.read_levels(path)
    return np.stack([images.read_levels(path, frame) for frame in range(classes.num_channels)])


def read_probs(path: Path, classes: Classes) -> Floats:
    """Probabilities (k, h, w) in [0, 1] of a file.

    Raises:
        ImageError: as `read_levels`.
    """
    levels = read_levels(path, classes).astype(np.float32) / np.float32(images.LEVELS)
    return levels[None] if classes.kind == "binary" else levels


def write_probs(path: Path, probs: Floats) -> None:
    """Write probabilities (k, h, w) to a path of `probs_path`."""
    if len(probs) == 1:
        images.write_probs(path, probs[0])
    else:
        images.write_pages(path, np.rint(probs.astype(np.float64) * images.LEVELS).astype(np.uint16))


def labels_from_probs(probs: Floats, classes: Classes, threshold: float) -> Labels:
    """The predicted label map (h, w) of probabilities (k, h, w): by threshold in a binary task, else by argmax."""
    if classes.kind == "binary":
        return np.asarray(probs[0] >= threshold)
    return np.asarray(probs.argmax(axis=0), dtype=np.uint8)


def write_labels(path: Path, labels: Labels, classes: Classes) -> None:
    """Write a label map (h, w) as PNG: white on black, or class indices with the class colours as palette."""
    if labels.dtype == np.bool_:
        images.write_mask(path, labels)
    else:
        images.write_indices(path, labels.astype(np.uint8), classes.palette)


def target_maps(labels: Labels, classes: Classes) -> Floats:
    """A label map (h, w) as a target (k, h, w) of 0 and 1."""
    return labels[None].astype(np.float32) if classes.kind == "binary" else classes.target(labels)


def valid_pixels(labels: Labels, classes: Classes) -> Bools:
    """Which pixels (h, w) have a label that is not ignored."""
    return np.ones(labels.shape, bool) if classes.kind == "binary" else classes.valid_pixels(labels)
