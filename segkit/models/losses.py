"""Losses of a label map: one value per image, so that a mean over images is the same however they are sharded.

`target` may be soft (probabilities). `pixel_weight` is 0 outside the region that counts and the pixel's confidence
inside. A loss takes logits with one channel (binary: sigmoid) or one per class (softmax).
"""

from collections.abc import Callable, Sequence
from pkgutil import resolve_name

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from segkit.models.heads import probabilities
from segkit.models.settings import LOSSES, CrossEntropySettings, DiceSettings, LossTerm, MccSettings

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits, target, pixel_weight) to one value per image."""

EPSILON = 1e-6


def build_loss(terms: Sequence[LossTerm]) -> Loss:
    """The weighted sum of loss terms."""
    functions: list[tuple[Callable[..., Tensor], LossTerm]] = [
        (resolve_name(LOSSES[type(term)]), term) for term in terms
    ]

    def loss(
        logits: Float[Tensor, "n k h w"], target: Float[Tensor, "n k h w"], pixel_weight: Float[Tensor, "n 1 h w"]
    ) -> Float[Tensor, " n"]:
        first, *others = (term.weight * function(logits, target, pixel_weight, term) for function, term in functions)
        return sum(others, start=first)

    return loss


def _sum(values: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k"]:
    """Sum over the pixels, in fp32."""
    return values.sum((2, 3), dtype=torch.float32)


def cross_entropy(
    logits: Float[Tensor, "n k h w"],
    target: Float[Tensor, "n k h w"],
    pixel_weight: Float[Tensor, "n 1 h w"],
    settings: CrossEntropySettings,
) -> Float[Tensor, " n"]:
    """Binary or categorical cross-entropy, the weighted mean over each image's pixels, in nats."""
    if logits.shape[1] == 1:
        values = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    else:
        values = -(target * F.log_softmax(logits.float(), dim=1)).sum(1, keepdim=True)
    return (_sum(values * pixel_weight) / _sum(pixel_weight).clamp_min(EPSILON))[:, 0]


def soft_dice(
    logits: Float[Tensor, "n k h w"],
    target: Float[Tensor, "n k h w"],
    pixel_weight: Float[Tensor, "n 1 h w"],
    settings: DiceSettings,
) -> Float[Tensor, " n"]:
    """1 - soft Dice, in [0, 1], the mean over classes; a class that neither map has costs nothing."""
    probs = probabilities(logits)
    overlap = _sum(probs * target * pixel_weight)
    total = _sum((probs + target) * pixel_weight)
    values = 1 - (2 * overlap + EPSILON) / (total + EPSILON)
    first = 0 if settings.background or logits.shape[1] == 1 else 1
    return values[:, first:].mean(1)


def soft_mcc(
    logits: Float[Tensor, "n k h w"],
    target: Float[Tensor, "n k h w"],
    pixel_weight: Float[Tensor, "n 1 h w"],
    settings: MccSettings,
) -> Float[Tensor, " n"]:
    """1 - soft Matthews correlation, in [0, 2] (Guo 2025, SA-UNetv2, Eq. 6), the mean over classes.

    Written as the correlation coefficient of probabilities and target, cov / sqrt(E[p](1-E[p]) E[t](1-E[t])), to which
    the soft confusion counts reduce; means keep it in range where products of counts overflow.
    """
    probs = probabilities(logits)
    count = _sum(pixel_weight).clamp_min(EPSILON)
    mean_probs, mean_target = _sum(probs * pixel_weight) / count, _sum(target * pixel_weight) / count
    covariance = _sum(probs * target * pixel_weight) / count - mean_probs * mean_target
    variance = mean_probs * (1 - mean_probs) * mean_target * (1 - mean_target)
    return (1 - covariance / (variance + EPSILON**2).sqrt()).mean(1)
