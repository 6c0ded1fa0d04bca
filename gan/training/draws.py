"""Random numbers of a training step as a function of seed, iteration and phase, the same on any number of ranks.

Each rank draws for the whole batch and keeps every `world`-th row, starting at its own number. So one process and many
draw the same numbers for a batch, and a resumed run draws the same numbers as an uninterrupted one.
"""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from gan import augment


def mix_seed(*parts: int) -> int:
    """A 63-bit seed from a seed and counters."""
    return int(np.random.SeedSequence([part % 2**64 for part in parts]).generate_state(1, np.uint64)[0] >> 1)


class BatchDraws:
    """This rank's rows of random numbers for one phase of one iteration.

    Args:
        key: seed, iteration, phase; the same on all ranks.
        rank, world: number of this process, and of all processes.
    """

    def __init__(self, *key: int, rank: int = 0, world: int = 1, device: torch.device | str = "cpu") -> None:
        self.part = slice(rank, None, world)
        self.device = torch.device(device)
        self._on_device = torch.Generator(self.device).manual_seed(mix_seed(*key, 0))
        self._on_host = torch.Generator().manual_seed(mix_seed(*key, 1))

    def normal(self, num_images: int, *shape: int) -> Tensor:
        """Standard normal numbers of `shape` for each of this rank's images, on the device."""
        return torch.randn(num_images, *shape, generator=self._on_device, device=self.device)[self.part]

    def augment(self, num_images: int) -> augment.Draws:
        """Numbers for the augmentation of this rank's images."""
        return augment.draw(num_images, self._on_host).share(self.part)

    def seeds(self, num_images: int) -> Int[Tensor, " n"]:
        """A seed for each of this rank's images, on the CPU."""
        return torch.randint(2**63 - 1, (num_images,), generator=self._on_host)[self.part]

    def mixing_cutoff(self, num_ws: int, style_mixing_prob: float) -> int:
        """First layer with the second latents' style, one for the batch; `num_ws` for no mixing."""
        mix, position = torch.rand(2, generator=self._on_host).tolist()
        return 1 + int(position * (num_ws - 1)) if mix < style_mixing_prob else num_ws
