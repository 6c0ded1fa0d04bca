"""The batch contract: what a segmentation network is trained and validated on."""

from typing import TypedDict

from jaxtyping import Bool, Float
from torch import Tensor


class Batch(TypedDict):
    """n images of one size with everything a loss or a metric needs."""

    image: Float[Tensor, "n c h w"]
    """In [0, 1]."""
    vessels: Float[Tensor, "n 1 h w"]
    """In [0, 1]; soft for soft pseudo-labels."""
    fov: Bool[Tensor, "n 1 h w"]
    """Lit disc; False in padding."""
    pixel_weight: Float[Tensor, "n 1 h w"]
    """Confidence inside the field of view, 0 outside."""
    weight: Float[Tensor, " n"]
    """Factor on each image's loss."""
