"""Conversion of logits to probabilities and predictions, for all networks."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


class Outputs(NamedTuple):
    """What a network returns in training if it has auxiliary heads; without them it returns the logits alone."""

    logits: Float[Tensor, "n k h w"]
    auxiliary: tuple[Tensor, ...] = ()
    """Logits (n, k, h, w) of further heads, which only the loss uses."""


def as_outputs(result: Tensor | Outputs) -> Outputs:
    """A network's result as `Outputs`, with or without auxiliary logits."""
    return result if isinstance(result, Outputs) else Outputs(result)


def at_least_fp32(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The values in fp32; fp64 stays fp64."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def probabilities(logits: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k h w"]:
    """Class probabilities, at least in fp32: a sigmoid for one channel, a softmax over the channels for several."""
    logits = at_least_fp32(logits)
    return logits.sigmoid() if logits.shape[1] == 1 else torch.softmax(logits, dim=1)


def logits_of_mean(all_logits: Sequence[Float[Tensor, "n k h w"]]) -> Float[Tensor, "n k h w"]:
    """Logits, in fp32, whose probabilities are the mean of the probabilities of several maps of logits."""
    stacked = torch.stack([logits.float() for logits in all_logits])
    if stacked.shape[2] == 1:
        return F.logsigmoid(stacked).logsumexp(0) - F.logsigmoid(-stacked).logsumexp(0)
    return stacked.log_softmax(2).logsumexp(0) - math.log(len(all_logits))
