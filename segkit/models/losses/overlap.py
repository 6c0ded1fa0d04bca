"""Losses of overlap, from sums over all pixels: Dice, Tversky and Matthews correlation.

The products p * t accept soft targets, but Dice and Tversky reach 0 only for an exact prediction of a hard target.
"""

from jaxtyping import Float
from torch import Tensor

from segkit.models.heads import probabilities
from segkit.models.loss_settings import DiceSettings, MccSettings, TverskySettings
from segkit.models.losses.sums import EPSILON, mean_over_classes, sum_pixels


def soft_dice(
    logits: Float[Tensor, "n k h w"],
    target: Float[Tensor, "n k h w"],
    pixel_weight: Float[Tensor, "n 1 h w"],
    settings: DiceSettings,
) -> Float[Tensor, " n"]:
    """1 - soft Dice, in [0, 1], the mean over classes; 0 for a class that neither map has."""
    probs = probabilities(logits)
    overlap = sum_pixels(probs * target * pixel_weight)
    total = sum_pixels((probs + target) * pixel_weight)
    return mean_over_classes(1 - (2 * overlap + EPSILON) / (total + EPSILON), settings.background)


def tversky(
    logits: Float[Tensor, "n k h w"],
    target: Float[Tensor, "n k h w"],
    pixel_weight: Float[Tensor, "n 1 h w"],
    settings: TverskySettings,
) -> Float[Tensor, " n"]:
    """(1 - TP / (TP + a FP + b FN))^exponent, in [0, 1], the mean over classes (Salehi 2017, Eq. 4; Abraham 2019).

    With a = b = 1/2 and exponent 1 it is the soft Dice loss.
    """
    probs = probabilities(logits)
    tp = sum_pixels(probs * target * pixel_weight)
    fp = sum_pixels(probs * (1 - target) * pixel_weight)
    fn = sum_pixels((1 - probs) * target * pixel_weight)
    wrong = settings.false_positive_weight * fp + settings.false_negative_weight * fn
    values = wrong / (tp + wrong + EPSILON)
    if settings.exponent != 1:
        values = values.clamp_min(EPSILON) ** settings.exponent  # a root has no finite slope at 0
    return mean_over_classes(values, settings.background)


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
    count = sum_pixels(pixel_weight).clamp_min(EPSILON)
    mean_probs, mean_target = sum_pixels(probs * pixel_weight) / count, sum_pixels(target * pixel_weight) / count
    covariance = sum_pixels(probs * target * pixel_weight) / count - mean_probs * mean_target
    variance = mean_probs * (1 - mean_probs) * mean_target * (1 - mean_target)
    return (1 - covariance / (variance + EPSILON**2).sqrt()).mean(1)
