"""Groups of images of one patient as integers, for indexing arrays."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def group_numbers(groups: Sequence[str]) -> npt.NDArray[np.int64]:
    """The group of each image (n,) as a number from 0, counted in the order of first appearance.

    Where each image is its own group, these are 0, 1, ..., n - 1.
    """
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups], dtype=np.int64)


def patients_of(num_images: int, groups: Sequence[str] | None) -> npt.NDArray[np.int64]:
    """`group_numbers`, or a different one for each image without groups."""
    return np.arange(num_images) if groups is None else group_numbers(groups)
