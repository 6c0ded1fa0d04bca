"""DropBlock: remove squares of a feature map.

Ghiasi 2018, "DropBlock: A regularization method for convolutional networks".
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.models.ranks import rank_and_world_size


def seed_prob(drop_prob: float, block_size: int, height: int, width: int) -> float:
    """Chance of a valid position to seed a block, so that pixels vanish with about `drop_prob` (Ghiasi 2018, Eq. 1)."""
    valid = (height - block_size + 1) * (width - block_size + 1)
    return drop_prob / block_size**2 * (height * width) / valid


def image_seeds(num_images: int) -> list[int]:
    """A seed for each image of this rank's share of the global batch; ranks hold equal shares, in order.

    Seeds for the whole batch are drawn from torch's generator on the CPU. Where that is seeded alike on every rank, an
    image's seed does not depend on how many ranks share the batch.
    """
    rank, world_size = rank_and_world_size()
    seeds: list[int] = torch.randint(2**63 - 1, (world_size * num_images,)).tolist()
    return seeds[rank * num_images : (rank + 1) * num_images]


def keep_mask(
    like: Float[Tensor, "n c h w"], drop_prob: float, block_size: int, seeds: Sequence[int]
) -> Float[Tensor, "n c h w"]:
    """1 where the feature map is kept, 0 inside dropped blocks; drawn for each image and channel from the image's seed.

    Two implementations of one distribution. On a CPU listing the few blocks takes a fifth of the time of a dilation
    over all pixels. On a GPU the host would wait for the list's length, so the seeds are dilated. Blocks of one pixel
    are too many for a list.
    """
    draw = _listed_blocks if like.device.type == "cpu" and block_size > 1 else _dilated
    return draw(like, drop_prob, block_size, seeds)


def _listed_blocks(like: Tensor, drop_prob: float, block_size: int, seeds: Sequence[int]) -> Tensor:
    channels, height, width = like.shape[1:]
    rows, columns = height - block_size + 1, width - block_size + 1
    positions = channels * rows * columns
    trials, prob = torch.tensor(float(positions)), torch.tensor(seed_prob(drop_prob, block_size, height, width))
    generator = torch.Generator()
    places = []
    for image, seed in enumerate(seeds):
        generator.manual_seed(seed)
        # Positions are drawn with replacement: about one block in 500 coincides with another, which is accepted.
        num_blocks = int(torch.binomial(trials, prob, generator))
        first = image * positions
        places.append(torch.randint(first, first + positions, (num_blocks,), generator=generator))
    place = torch.cat(places)
    plane, place = place.div(rows * columns, rounding_mode="floor"), place % (rows * columns)
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


def _dilated(like: Tensor, drop_prob: float, block_size: int, seeds: Sequence[int]) -> Tensor:
    height, width = like.shape[-2:]
    corners = like.new_empty((*like.shape[:2], height - block_size + 1, width - block_size + 1))
    prob = seed_prob(drop_prob, block_size, height, width)
    generator = torch.Generator(like.device)
    for image, seed in zip(corners, seeds, strict=True):
        image.bernoulli_(prob, generator=generator.manual_seed(seed))  # seeding does not make the host wait
    if block_size == 1:
        return 1 - corners
    grown = F.pad(corners, (block_size - 1,) * 4)
    # A square dilation is one along the rows and one along the columns.
    rows = F.max_pool2d(grown, (block_size, 1), stride=1)
    return 1 - F.max_pool2d(rows, (1, block_size), stride=1)


class DropBlock2d(nn.Module):
    """Removes `block_size` squares with overall chance `drop_prob` while training; the identity otherwise.

    With `block_size` 1 it is dropout (Srivastava 2014), up to the scale, which is that of the share actually kept.
    """

    def __init__(self, drop_prob: float, block_size: int = 7) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.block_size = block_size

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        if not self.training or self.drop_prob == 0:
            return features
        with torch.no_grad():
            block_size = min(self.block_size, *features.shape[-2:])
            keep = keep_mask(features, self.drop_prob, block_size, image_seeds(len(features)))
            # Keeps the expected activation (Ghiasi 2018, Algorithm 1), of each image by itself, so that it does not
            # depend on the others of its rank. Of a tiny map nothing may be left.
            kept = keep.sum((1, 2, 3), keepdim=True, dtype=torch.float32)
            keep *= (keep[0].numel() / kept.clamp_min(1)).to(keep.dtype)  # of two types is several times slower
        return features * keep

    def extra_repr(self) -> str:
        return f"drop_prob={self.drop_prob}, block_size={self.block_size}"
