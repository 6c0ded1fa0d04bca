"""Losses that are a mean over pixels: cross-entropy and focal loss."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from segkit.core.errors import RequestError
from segkit.models.heads import at_least_fp32
from segkit.models.loss_settings import CrossEntropySettings, FocalSettings
from segkit.models.losses.sums import EPSILON, sum_pixels


def cross_entropy(
    logits: Float[Tensor, "n k h w"],
    target: Float[Tensor, "n k h w"],
    pixel_weight: Float[Tensor, "n 1 h w"],
    settings: CrossEntropySettings,
) -> Float[Tensor, " n"]:
    """Binary or categorical cross-entropy, the weighted mean over each image's pixels, in nats."""
    if settings.class_weights is None and logits.shape[1] == 1:  # the same as below, with half the memory
        values = F.binary_cross_entropy_with_logits(at_least_fp32(logits), target, reduction="none")
        return (sum_pixels(values * pixel_weight) / sum_pixels(pixel_weight).clamp_min(EPSILON))[:, 0]
    shares = _class_shares(target)
    return _weighted_mean(-shares * _log_probs(logits), shares, pixel_weight, settings.class_weights)


def focal(
    logits: Float[Tensor, "n k h w"],
    target: Float[Tensor, "n k h w"],
    pixel_weight: Float[Tensor, "n 1 h w"],
    settings: FocalSettings,
) -> Float[Tensor, " n"]:
    """Focal loss -(1 - p)^gamma log p of the true class's probability p (Lin 2017, Eq. 4), the mean over pixels.

    A soft target gives the expected loss over its classes, whose minimum is not at p = target.
    """
    shares, log_probs = _class_shares(target), _log_probs(logits)
    factor = (-torch.expm1(log_probs)).clamp_min(EPSILON) ** settings.gamma
    return _weighted_mean(-shares * factor * log_probs, shares, pixel_weight, settings.class_weights)


def _log_probs(logits: Float[Tensor, "n k h w"]) -> Float[Tensor, "n c h w"]:
    """Log-probability of each class; a binary task has two, the rest first."""
    logits = at_least_fp32(logits)
    if logits.shape[1] == 1:
        return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=1)
    return F.log_softmax(logits, dim=1)


def _class_shares(target: Float[Tensor, "n k h w"]) -> Float[Tensor, "n c h w"]:
    """The target with a channel for each class; a binary task has two, the rest first."""
    return torch.cat([1 - target, target], dim=1) if target.shape[1] == 1 else target


def _weighted_mean(
    values: Float[Tensor, "n c h w"],
    shares: Float[Tensor, "n c h w"],
    pixel_weight: Float[Tensor, "n 1 h w"],
    class_weights: tuple[float, ...] | None,
) -> Float[Tensor, " n"]:
    """Mean of the values of the true classes, each pixel weighted by `pixel_weight` and its class's weight.

    Raises:
        RequestError: there are not as many class weights as classes.
    """
    weights = class_weights or (1.0,) * values.shape[1]
    if len(weights) != values.shape[1]:
        raise RequestError(
            f"the loss has {len(weights)} class_weights, expected {values.shape[1]}: one for each class, in a binary "
            "task of the rest and of the class"
        )
    per_class = values.new_tensor(weights)
    total = (sum_pixels(values * pixel_weight) * per_class).sum(1)
    return total / (sum_pixels(shares * pixel_weight) * per_class).sum(1).clamp_min(EPSILON)
