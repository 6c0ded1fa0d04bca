"""Trained GANs in Python: `segkit.gan.load` a generator and `sample` images."""

from collections.abc import Iterable
from numbers import Integral
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from gan.drawing.sampling import generate, read_generator
from gan.networks.generator import Generator
from gan.settings import GanSettings, SamplingSettings
from segkit.core.config import validate
from segkit.core.determinism import move_to
from segkit.core.errors import RequestError
from segkit.core.seeding import LARGEST_SEED


class Gan:
    """A trained StyleGAN2 generator, averaged over training."""

    def __init__(self, generator: Generator, settings: GanSettings) -> None:
        self.generator = generator.eval()
        self.settings = settings

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.settings.resolution

    def to(self, device: str | torch.device) -> "Gan":
        """Move the generator to a device, for example "cuda".

        Raises:
            RequestError: there is no such device.
        """
        move_to(self.generator, device)
        return self

    def sample(
        self,
        seeds: Iterable[int],
        truncation_psi: float = 0.7,
        truncation_cutoff: int | None = None,
        noise_mode: str = "const",
    ) -> npt.NDArray[np.uint8]:
        """Generate the images of seeds, the same as `segkit gan sample` writes on this kind of device.

        Args:
            seeds: whole numbers from 0; each seed is one image.
            truncation_psi: 1 samples all of W, 0 only the mean image.
            truncation_cutoff: truncate only this many of the first styles; all by default.
            noise_mode: "const", "random" or "none".

        Returns:
            (n, r, r, c), uint8.

        Raises:
            RequestError: an argument has the wrong value.
        """
        given = {"truncation_psi": truncation_psi, "truncation_cutoff": truncation_cutoff, "noise_mode": noise_mode}
        how = validate(SamplingSettings, given, "sample()")
        listed = list(seeds) if isinstance(seeds, Iterable) else []
        if not listed or not all(isinstance(seed, Integral) and 0 <= seed <= LARGEST_SEED for seed in listed):
            raise RequestError(
                f"seeds are {seeds!r}; give a list of at least one whole number, each from 0 to {LARGEST_SEED}"
            )
        drawn = [
            generate(self.generator, int(seed), how.truncation_psi, how.truncation_cutoff, how.noise_mode)
            for seed in listed
        ]
        return np.stack(drawn)


def load(weights: str | Path, device: str | torch.device = "cpu") -> Gan:
    """Load a generator.

    Args:
        weights: folder of a trained GAN, or an official StyleGAN2-ADA `.pkl`.
        device: where to compute, for example "cuda".

    Raises:
        RequestError: `weights` is neither text nor a path, or there is no such device.
        WeightsError: there is no generator, or it cannot be read.
    """
    if not isinstance(weights, str | Path):
        raise RequestError(f"weights is {weights!r}; give a path")
    settings, generator = read_generator(Path(weights))
    return Gan(generator, settings).to(device)
