"""DropBlock: remove squares of a feature map.

Ghiasi 2018, "DropBlock: A regularization method for convolutional networks".
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def seed_prob(drop_prob: float, block_size: int, height: int, width: int) -> float:
    """Chance of a valid position to seed a block, so that pixels vanish with about `drop_prob` (Ghiasi 2018, Eq. 1)."""
    valid = (height - block_size + 1) * (width - block_size + 1)
    return drop_prob / block_size**2 * (height * width) / valid


def keep_mask(like: Float[Tensor, "n c h w"], drop_prob: float, block_size: int) -> Float[Tensor, "n c h w"]:
    """1 where the feature map is kept, 0 inside dropped blocks; drawn per image and channel from torch's generator.

    Two ways to the same distribution. On a CPU seeds are rare enough that listing their blocks costs a fifth of
    touching every pixel; on a GPU the list's length would have to be waited for, so each pixel is drawn and dilated.
    """
    draw = _listed_blocks if like.device.type == "cpu" else _dilated
    return draw(like, drop_prob, block_size)


def _listed_blocks(like: Tensor, drop_prob: float, block_size: int) -> Tensor:
    num, channels, height, width = like.shape
    rows, columns = height - block_size + 1, width - block_size + 1
    positions = num * channels * rows * columns
    prob = torch.tensor(seed_prob(drop_prob, block_size, height, width))
    # Positions are drawn with replacement: two seeds coincide for one in some 500, which is left as it is.
    num_seeds = int(torch.binomial(torch.tensor(float(positions)), prob))
    seed = torch.randint(positions, (num_seeds,))
    plane, place = seed.div(rows * columns, rounding_mode="floor"), seed % (rows * columns)
    keep = torch.ones_like(like)
    stride_n, stride_c, stride_h, stride_w = keep.stride()
    corner = (
        plane.div(channels, rounding_mode="floor") * stride_n
        + plane % channels * stride_c
        + place.div(columns, rounding_mode="floor") * stride_h
        + place % columns * stride_w
    )
    side = torch.arange(block_size)
    block = (side[:, None] * stride_h + side * stride_w).flatten()
    keep.as_strided((keep.numel(),), (1,)).index_fill_(0, (corner[:, None] + block).flatten(), 0)
    return keep


def _dilated(like: Tensor, drop_prob: float, block_size: int) -> Tensor:
    height, width = like.shape[-2:]
    corners = like.new_empty((*like.shape[:2], height - block_size + 1, width - block_size + 1))
    corners.bernoulli_(seed_prob(drop_prob, block_size, height, width))
    grown = F.pad(corners, (block_size - 1,) * 4)
    # A square dilation is one along the rows and one along the columns.
    rows = F.max_pool2d(grown, (block_size, 1), stride=1)
    return 1 - F.max_pool2d(rows, (1, block_size), stride=1)


class DropBlock2d(nn.Module):
    """Removes `block_size` squares with overall chance `drop_prob` while training; the identity otherwise."""

    def __init__(self, drop_prob: float, block_size: int = 7) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.block_size = block_size

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        if not self.training or self.drop_prob == 0:
            return features
        with torch.no_grad():
            keep = keep_mask(features, self.drop_prob, min(self.block_size, *features.shape[-2:]))
            # Keeps the expected activation (Ghiasi 2018, Algorithm 1). Of a tiny map nothing may be left.
            keep *= keep.numel() / keep.sum(dtype=torch.float32).clamp_min(1)
        return features * keep

    def extra_repr(self) -> str:
        return f"drop_prob={self.drop_prob}, block_size={self.block_size}"
