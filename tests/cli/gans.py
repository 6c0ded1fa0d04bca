"""A tiny GAN's folder, for tests of the commands that draw from one."""

from pathlib import Path

import torch

from gan.checkpoints import weights
from gan.networks.generator import Generator
from gan.settings import GanSettings
from tests.gan.small_networks import networks, tiny


def save_gan(folder: Path, **changes: object) -> GanSettings:
    """Only the averaged generator of a 16x16 network, as a snapshot's folder has it, and its settings."""
    settings = tiny(**changes)
    generator: Generator = networks(settings)["generator_ema"]
    with torch.no_grad():
        z = torch.randn(500, settings.z_dim, generator=torch.Generator().manual_seed(0))
        generator.mapping.w_avg.copy_(generator.mapping.map(z).mean(dim=0))
    weights.save(folder, {weights.GENERATOR_EMA: generator}, settings)
    return settings
