"""Soft clDice: overlap of the centre lines of two maps."""

from jaxtyping import Float
from torch import Tensor

from segkit.models.heads import probabilities
from segkit.models.loss_settings import SoftClDiceSettings
from segkit.models.losses.sums import EPSILON, mean_over_classes, sum_pixels


def soft_cldice(
    logits: Float[Tensor, "n k h w"],
    target: Float[Tensor, "n k h w"],
    pixel_weight: Float[Tensor, "n 1 h w"],
    settings: SoftClDiceSettings,
) -> Float[Tensor, " n"]:
    """1 - soft clDice, in [0, 1], the mean over classes (Shit 2021, Algorithms 1 and 2).

    Both maps are cut to the region before their soft skeletons are computed. The skeletons are monai's; its loss sums
    over a whole batch and has no region.
    """
    from monai.losses.cldice import soft_skel  # takes a second to import

    inside = pixel_weight > 0
    probs, target = probabilities(logits) * inside, target * inside
    line, true_line = (soft_skel(img=image, iter_=settings.iterations) for image in (probs, target))
    precision = _share(line * pixel_weight, target)
    sensitivity = _share(true_line * pixel_weight, probs)
    harmonic = 2 * precision * sensitivity / (precision + sensitivity)
    return mean_over_classes(1 - harmonic, settings.background)


def _share(line: Float[Tensor, "n k h w"], area: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k"]:
    """Share of a line that lies in an area."""
    return (sum_pixels(line * area) + EPSILON) / (sum_pixels(line) + EPSILON)
