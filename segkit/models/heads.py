"""From a network's logits to probabilities and predictions: the only place that does it."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Outputs(NamedTuple):
    """What a network returns in training if it has auxiliary heads; without them it returns the logits alone."""

    logits: Float[Tensor, "n k h w"]
    auxiliary: tuple[Tensor, ...] = ()
    """Logits (n, k, h, w) of further heads, which only the loss uses."""


def as_outputs(result: Tensor | Outputs) -> Outputs:
    """The result of a network, with or without auxiliary logits, in one form."""
    return result if isinstance(result, Outputs) else Outputs(result)


def probabilities(logits: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k h w"]:
    """Class probabilities in fp32: a sigmoid for one channel, a softmax over the channels for several."""
    logits = logits.float()
    return logits.sigmoid() if logits.shape[1] == 1 else torch.softmax(logits, dim=1)
