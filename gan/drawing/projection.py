"""Projection: search for w and noise whose image is nearest to a given one (Karras 2020a, appendix D)."""

import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from gan.drawing.distances import Measure
from gan.networks.generator import Generator, MappingNetwork
from gan.networks.noise import stored_noise, synthesise
from segkit.core.config import Settings
from segkit.core.determinism import deterministic_kernels

_NUM_W_SAMPLES = 10_000


class ProjectionSettings(Settings):
    """Settings of the search; the defaults are the paper's."""

    num_steps: int = Field(1000, ge=1)
    """Steps of Adam."""
    space: Literal["w", "w+"] = "w"
    """One w for all layers, or one per layer, which fits better but may leave the range of the GAN."""
    noise: Literal["optimise", "const"] = "optimise"
    """Search for the per-pixel noise too, or keep the network's own."""
    learning_rate: float = Field(0.1, gt=0)
    """Peak of the schedule, which rises over the first 5 % of the steps and falls to 0 over the last 25 %."""
    noise_weight: float = Field(1e5, ge=0)
    """Weight of the penalty on structure in the noise."""
    seed: int = Field(0, ge=0)
    """Seed of the initial noise and of the noise on w."""


class Step(NamedTuple):
    """Values of one step."""

    distance: float
    noise_penalty: float
    learning_rate: float


class Projection(NamedTuple):
    """Result of the search."""

    ws: Float[Tensor, "1 num_ws w_dim"]
    noise: dict[str, Float[Tensor, "_ _"]]
    """By the names of the layers' buffers."""
    image_pm1: Float[Tensor, "c r r"]
    steps: list[Step]


def rate_factor(progress: float) -> float:
    """Factor on the learning rate at a share of the steps: linear from 0 over 5 %, cosine to 0 over the last 25 %."""
    fall = min(1.0, (1 - progress) / 0.25)
    return min(1.0, progress / 0.05) * (0.5 - 0.5 * math.cos(math.pi * fall))


def exploration(progress: float) -> float:
    """Noise on w, in units of W's scale, after this share of the steps: 0.05 t^2, t from 1 to 0 over the first 75 %."""
    return 0.05 * max(0.0, 1 - progress / 0.75) ** 2


def w_scale(mapping: MappingNetwork, z_dim: int, generator: torch.Generator) -> float:
    """sigma_w = sqrt(E |f(z) - w_avg|^2): the width of W around its mean."""
    with torch.no_grad():
        z = torch.randn(_NUM_W_SAMPLES, z_dim, generator=generator)
        parts = [mapping.map(part.to(mapping.w_avg.device)) - mapping.w_avg for part in z.split(1000)]
        return math.sqrt(float(torch.cat(parts).square().sum(dim=1).mean()))


def noise_penalty(noise: Iterable[Float[Tensor, "_ _"]]) -> Float[Tensor, ""]:
    """Sum of squared autocorrelations of each noise map at a shift of one pixel, which are 0 for white noise.

    They are taken on all scales down to 8 pixels; means of 2x2 pixels, doubled, are unit noise again.
    """
    terms = []
    for noise_map in noise:
        level = noise_map[None, None]
        while True:
            terms += [(level * level.roll(1, dims=axis)).mean().square() for axis in (2, 3)]
            if level.shape[-1] <= 8:
                break
            level = F.avg_pool2d(level, 2) * 2
    return torch.stack(terms).sum()


@torch.no_grad()
def normalise_(noise: Iterable[Float[Tensor, "_ _"]]) -> None:
    """Give each noise map zero mean and unit variance."""
    for noise_map in noise:
        noise_map -= noise_map.mean()
        noise_map *= noise_map.square().mean().rsqrt()


def project(
    generator: Generator,
    target_pm1: Float[Tensor, "c r r"],
    measure: Measure,
    settings: ProjectionSettings,
    watched: Callable[[range], Iterable[int]] = iter,
) -> Projection:
    """Search for the image in fp32, starting at the mean w; deterministic on one machine if `measure` is.

    Args:
        generator: in fp32, with parameters that need no gradient.
        target_pm1: in [-1, 1].
        measure: the distance to minimise.
        watched: yields the numbers of the steps and shows progress.
    """
    with deterministic_kernels(generator.mapping.w_avg.device):
        return _search(generator, target_pm1, measure, settings, watched)


def _search(
    generator: Generator,
    target_pm1: Float[Tensor, "c r r"],
    measure: Measure,
    settings: ProjectionSettings,
    watched: Callable[[range], Iterable[int]],
) -> Projection:
    device = generator.mapping.w_avg.device
    draws = torch.Generator().manual_seed(settings.seed)
    sigma = w_scale(generator.mapping, generator.z_dim, draws)
    num_styles = 1 if settings.space == "w" else generator.num_ws
    w = generator.mapping.w_avg.expand(1, num_styles, -1).clone().requires_grad_()
    noise = _initial_noise(generator, settings, draws)
    adam = torch.optim.Adam([w, *(value for value in noise.values() if value.requires_grad)])
    distance_to = measure(target_pm1[None].to(device))
    steps = []
    for step in watched(range(settings.num_steps)):
        progress = step / settings.num_steps
        rate = settings.learning_rate * rate_factor(progress)
        jitter = torch.randn(w.shape, generator=draws).to(device) * (sigma * exploration(progress))
        image_pm1 = synthesise(generator.synthesis, _for_layers(w + jitter, generator.num_ws), noise)
        distance = distance_to(image_pm1)
        penalty = noise_penalty(noise.values()) if settings.noise == "optimise" else distance.new_zeros([])
        adam.zero_grad()
        (distance + settings.noise_weight * penalty).backward()
        for group in adam.param_groups:
            group["lr"] = rate
        adam.step()
        if settings.noise == "optimise":
            normalise_(noise.values())
        steps.append(Step(distance.item(), penalty.item(), rate))
    with torch.no_grad():
        ws = _for_layers(w.detach(), generator.num_ws)
        noise = {name: value.detach() for name, value in noise.items()}
        return Projection(ws, noise, synthesise(generator.synthesis, ws, noise)[0].float().cpu(), steps)


def _initial_noise(
    generator: Generator, settings: ProjectionSettings, draws: torch.Generator
) -> dict[str, Float[Tensor, "_ _"]]:
    own = stored_noise(generator.synthesis)
    if settings.noise == "const":
        return own
    drawn = {name: torch.randn(value.shape, generator=draws).to(value) for name, value in own.items()}
    return {name: value.requires_grad_() for name, value in drawn.items()}


def _for_layers(w: Float[Tensor, "1 k w_dim"], num_ws: int) -> Float[Tensor, "1 num_ws w_dim"]:
    return w if w.shape[1] == num_ws else w.expand(-1, num_ws, -1)
