"""Per-pixel noise given to a synthesis network in place of the stored one."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gan.networks.generator import SynthesisNetwork


def stored_noise(synthesis: SynthesisNetwork) -> dict[str, Float[Tensor, "_ _"]]:
    """The noise that is stored with the network, by the names of its buffers, from low to high resolution."""
    return {name: value for name, value in synthesis.named_buffers() if name.endswith("noise_const")}


def noise_of_seed(synthesis: SynthesisNetwork, seed: int) -> dict[str, Float[Tensor, "_ _"]]:
    """Standard normal noise for each layer, a function of the seed and the layer's index only.

    NumPy draws it on the host, since torch's generators give different numbers on different devices.
    """
    return {
        name: torch.from_numpy(np.random.default_rng([seed, index]).standard_normal(stored.shape, np.float32)).to(
            stored
        )
        for index, (name, stored) in enumerate(stored_noise(synthesis).items())
    }


def noise_of_images(
    synthesis: SynthesisNetwork, seeds: Int[Tensor, " n"], device: torch.device
) -> Float[Tensor, "n p"]:
    """Standard normal noise of each image for all layers, as `SynthesisNetwork` expects it.

    A row depends only on its seed and the type of device. The host does not wait for the device.

    Args:
        seeds: one per image, on the CPU.
    """
    noise = torch.empty(len(seeds), sum(synthesis.noise_sizes), device=device)
    generator = torch.Generator(device)
    for row, seed in zip(noise, seeds.tolist(), strict=True):
        row.normal_(generator=generator.manual_seed(seed))
    return noise


def synthesise(
    synthesis: SynthesisNetwork, ws: Float[Tensor, "n num_ws w_dim"], noise: Mapping[str, Float[Tensor, "_ _"]]
) -> Float[Tensor, "n c r r"]:
    """Image in about [-1, 1] with the given noise, differentiable by both; the network is not changed.

    Args:
        noise: by the names of `stored_noise`; other layers use their stored noise.
    """
    image_pm1: Tensor = torch.func.functional_call(synthesis, dict(noise), (ws, "const"))
    return image_pm1
