"""Losses of a vessel map: one value per image, so that a mean over images is the same however they are sharded.

`vessels` may be soft (probabilities). `pixel_weight` is 0 outside the field of view and the pixel's confidence inside.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

LossName = Literal["bce", "dice", "bce-dice", "bce-mcc"]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

EPSILON = 1e-6


def _sum(values: Float[Tensor, "n 1 h w"]) -> Float[Tensor, " n"]:
    return values.sum((1, 2, 3), dtype=torch.float32)


def bce(
    logits: Float[Tensor, "n 1 h w"], vessels: Float[Tensor, "n 1 h w"], pixel_weight: Float[Tensor, "n 1 h w"]
) -> Float[Tensor, " n"]:
    """Binary cross-entropy, the weighted mean over each image's pixels, in nats."""
    each = F.binary_cross_entropy_with_logits(logits.float(), vessels, reduction="none")
    return _sum(each * pixel_weight) / _sum(pixel_weight).clamp_min(EPSILON)


def soft_dice(
    logits: Float[Tensor, "n 1 h w"], vessels: Float[Tensor, "n 1 h w"], pixel_weight: Float[Tensor, "n 1 h w"]
) -> Float[Tensor, " n"]:
    """1 - soft Dice of the vessel class, in [0, 1]; 0 where prediction and vessels agree in being empty."""
    probs = logits.float().sigmoid()
    overlap = _sum(probs * vessels * pixel_weight)
    total = _sum((probs + vessels) * pixel_weight)
    return 1 - (2 * overlap + EPSILON) / (total + EPSILON)


def soft_mcc(
    logits: Float[Tensor, "n 1 h w"], vessels: Float[Tensor, "n 1 h w"], pixel_weight: Float[Tensor, "n 1 h w"]
) -> Float[Tensor, " n"]:
    """1 - soft Matthews correlation, in [0, 2] (Guo 2025, SA-UNetv2, Eq. 6), per image.

    Written as the correlation coefficient of probabilities and vessels, cov / sqrt(E[p](1-E[p]) E[v](1-E[v])), to which
    the soft confusion counts reduce; means keep it in range where products of counts overflow.
    """
    probs = logits.float().sigmoid()
    count = _sum(pixel_weight).clamp_min(EPSILON)
    mean_probs, mean_vessels = _sum(probs * pixel_weight) / count, _sum(vessels * pixel_weight) / count
    covariance = _sum(probs * vessels * pixel_weight) / count - mean_probs * mean_vessels
    variance = mean_probs * (1 - mean_probs) * mean_vessels * (1 - mean_vessels)
    return 1 - covariance / (variance + EPSILON**2).sqrt()


def _average(first: Loss, second: Loss) -> Loss:
    def average(logits: Tensor, vessels: Tensor, pixel_weight: Tensor) -> Tensor:
        return (first(logits, vessels, pixel_weight) + second(logits, vessels, pixel_weight)) / 2

    return average


LOSSES: dict[LossName, Loss] = {
    "bce": bce,
    "dice": soft_dice,
    "bce-dice": _average(bce, soft_dice),
    "bce-mcc": _average(bce, soft_mcc),
}
