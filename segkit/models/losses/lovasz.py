"""Lovasz losses: the convex extension of the Jaccard loss 1 - IoU (Berman 2018), image by image.

A pixel's weight is its area: IoU is the ratio of the weights of the intersection and of the union.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from segkit.models.heads import at_least_fp32, probabilities
from segkit.models.loss_settings import LovaszSettings
from segkit.models.losses.sums import EPSILON


def lovasz(
    logits: Float[Tensor, "n k h w"],
    target: Float[Tensor, "n k h w"],
    pixel_weight: Float[Tensor, "n 1 h w"],
    settings: LovaszSettings,
) -> Float[Tensor, " n"]:
    """Lovasz hinge of a binary task (Eq. 12), Lovasz-softmax of several classes (Eq. 8 and 9).

    Several classes: the mean over those that the target has. Not defined for soft targets, which are cut at 0.5.
    """
    hard = (target >= 0.5).to(torch.promote_types(logits.dtype, torch.float32))
    if logits.shape[1] == 1:
        errors = F.relu(1 - at_least_fp32(logits) * (2 * hard - 1))
    else:
        errors = (hard - probabilities(logits)).abs()
    truth, weight = hard.flatten(2), pixel_weight.to(hard.dtype).expand_as(hard).flatten(2)
    values = _extension(errors.flatten(2), truth, weight)
    if logits.shape[1] == 1:
        return values[:, 0]
    present = (truth * weight).sum(2) > 0
    first = 0 if settings.background else 1
    values, present = values[:, first:], present[:, first:]
    return (values * present).sum(1) / present.sum(1).clamp_min(1)


def _extension(
    errors: Float[Tensor, "n k p"], truth: Float[Tensor, "n k p"], weight: Float[Tensor, "n k p"]
) -> Float[Tensor, "n k"]:
    """The sum of the errors, largest first, each times what its pixel adds to 1 - IoU (Berman 2018, Eq. 8)."""
    ranked, order = errors.sort(dim=2, descending=True)
    with torch.no_grad():
        area = weight.gather(2, order)
        positive, negative = area * truth.gather(2, order), area * (1 - truth.gather(2, order))
        total = positive.sum(2, keepdim=True).clamp_min(EPSILON)
        intersection = (total - positive.cumsum(2)).clamp_min(0)
        union = total + negative.cumsum(2)
        # The differences of Berman's Algorithm 1 in closed form, without subtracting two numbers close to 1.
        slopes = positive / union + intersection * negative / (union * (union - negative))
    return (ranked * slopes).sum(2)
