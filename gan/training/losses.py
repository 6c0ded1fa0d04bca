"""Losses as pure functions; each is a mean over images, so sharding does not change the gradient."""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam


def generator_loss(fake_logits: Float[Tensor, "n 1"]) -> Float[Tensor, ""]:
    """Non-saturating logistic loss: -log sigmoid(D(G(z))) (Goodfellow 2014)."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Float[Tensor, "n 1"], fake_logits: Float[Tensor, "n 1"]) -> Float[Tensor, ""]:
    """Logistic loss: -log sigmoid(D(x)) - log(1 - sigmoid(D(G(z))))."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def gradient_penalty(real_logits: Float[Tensor, "n 1"], real_images: Float[Tensor, "n c r r"]) -> Float[Tensor, " n"]:
    """Squared gradient of each logit by its image, twice differentiable (R1 without gamma / 2; Mescheder 2018)."""
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def path_lengths(
    images: Float[Tensor, "n c r r"], ws: Float[Tensor, "n num_ws w_dim"], noise: Float[Tensor, "n c r r"]
) -> Float[Tensor, " n"]:
    """|J_w^T y| for image noise y, root mean square over the layers' w (Karras 2020a, Eq. 4)."""
    scaled = noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * scaled).sum(), ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(lengths: Float[Tensor, " n"], pl_mean: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Mean squared distance of path lengths from their running mean."""
    return (lengths - pl_mean).square().mean()


def lazy_adam(parameters: Iterable[nn.Parameter], learning_rate: float, interval: int | None) -> Adam:
    """Adam, corrected for an extra regularisation step each `interval` iterations (Karras 2020a, B).

    With r = interval / (interval + 1) the step is r lr and the decays are beta^r, so the optimiser's memory spans as
    many iterations as without the extra step. None: there is no extra step.
    """
    ratio = 1.0 if interval is None else interval / (interval + 1)
    return Adam(parameters, learning_rate * ratio, (0.0**ratio, 0.99**ratio), eps=1e-8, fused=True)
