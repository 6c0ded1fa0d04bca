"""Losses of a label map: one value per image, so that a mean over images is the same however they are sharded.

A loss takes logits with one channel (binary: sigmoid) or one per class (softmax), the target, and a weight of each
pixel, which is 0 outside the region that counts and the pixel's confidence inside. `target` may be soft
(probabilities); a loss that is not defined for soft targets says so. Sums over pixels are fp32 under mixed precision.
"""

from collections.abc import Callable, Sequence
from pkgutil import resolve_name

from jaxtyping import Float
from torch import Tensor

from segkit.models.loss_settings import LOSSES, LossTerm

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits, target, pixel_weight) to one value per image."""


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
