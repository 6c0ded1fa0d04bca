"""The batch that a segmentation network is trained and validated with."""

from typing import TypedDict

from jaxtyping import Bool, Float
from torch import Tensor


class Batch(TypedDict):
    """n images of one size with the targets and weights for losses and metrics."""

    image: Float[Tensor, "n c h w"]
    """In [0, 1]."""
    target: Float[Tensor, "n k h w"]
    """In [0, 1]: one channel in a binary task, else one per class; soft for soft pseudo-labels."""
    region: Bool[Tensor, "n 1 h w"]
    """Pixels that count, such as the field of view; False in padding."""
    pixel_weight: Float[Tensor, "n 1 h w"]
    """Confidence inside the region, 0 outside."""
    weight: Float[Tensor, " n"]
    """Factor on each image's loss."""
