"""Sums over the pixels of each image, which the losses share."""

import torch
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-6
"""Added to numerators and denominators: the loss of a class that neither map has is 0, without a division by zero."""


def sum_pixels(values: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k"]:
    """Sum over the pixels, in fp32 (in fp64 if the values are)."""
    return values.sum((2, 3), dtype=torch.promote_types(values.dtype, torch.float32))


def mean_over_classes(values: Float[Tensor, "n k"], background: bool) -> Float[Tensor, " n"]:
    """Mean over the classes; class 0 of several is left out unless `background`."""
    first = 0 if background or values.shape[1] == 1 else 1
    return values[:, first:].mean(1)
