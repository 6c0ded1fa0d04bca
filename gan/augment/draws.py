"""Random numbers of the augmentation: one row per image, one column per transform."""

from enum import IntEnum
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Column(IntEnum):
    """Column of each transform."""

    X_FLIP = 0
    QUARTER_TURNS = 1
    WHOLE_SHIFT = 2
    SCALE = 3
    FIRST_TURN = 4
    STRETCH = 5
    SECOND_TURN = 6
    SHIFT = 7
    BRIGHTNESS = 8
    CONTRAST = 9
    LUMA_FLIP = 10
    HUE = 11
    SATURATION = 12
    LOWEST_BAND = 13
    LOW_BAND = 14
    HIGH_BAND = 15
    HIGHEST_BAND = 16
    NOISE = 17
    CUTOUT = 18


class Draws(NamedTuple):
    """Random numbers of one batch, independent of the preset.

    They stay on the CPU, which selects the images to transform; reading them from a device would wait for it.
    """

    apply: Float[Tensor, "n 19"]
    """Uniform: a transform is applied where this lies below its chance."""
    uniform: Float[Tensor, "n 19 2"]
    """Uniform in [0, 1): strength of transforms with a uniform distribution."""
    normal: Float[Tensor, "n 19 2"]
    """Standard normal: strength of the other transforms."""
    noise_seed: Int[Tensor, " n"]
    """Seed of each image's noise, which is drawn on the image's device."""

    def share(self, part: slice) -> "Draws":
        """The rows of the selected images."""
        return Draws(*(column[part] for column in self))

    def chosen(self, column: Column, chance: float) -> Bool[Tensor, " n"]:
        """The images for which a transform was drawn."""
        return self.apply[:, column] < chance

    def only(self, column: Column, chance: float, matrices: Float[Tensor, "n k k"]) -> Float[Tensor, "n k k"]:
        """The matrices where a transform was drawn, the identity elsewhere."""
        identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype)
        return torch.where(self.chosen(column, chance)[:, None, None], matrices, identity)

    def symmetric(self, column: Column, limit: float) -> Float[Tensor, "n 2"]:
        """Uniform between -limit and +limit."""
        return (self.uniform[:, column] * 2 - 1) * limit

    def state(self, column: Column, num_states: int) -> Float[Tensor, " n"]:
        """One of 0, 1, ..., num_states - 1, all equally likely."""
        return (self.uniform[:, column, 0] * num_states).floor()

    def power_of_two(self, column: Column, std: float) -> Float[Tensor, " n"]:
        """Log-normal factors 2^N(0, std)."""
        return torch.exp2(self.normal[:, column, 0] * std)


def draw(num_images: int, rng: torch.Generator) -> Draws:
    """Draw for a batch from a generator on the CPU."""
    size = num_images, len(Column)
    return Draws(
        torch.rand(*size, generator=rng, dtype=torch.float64),
        torch.rand(*size, 2, generator=rng, dtype=torch.float64),
        torch.randn(*size, 2, generator=rng, dtype=torch.float64),
        torch.randint(2**63 - 1, (num_images,), generator=rng),
    )
