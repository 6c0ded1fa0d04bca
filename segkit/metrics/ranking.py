"""Exact AUROC and average precision of float probabilities in torch: by sorting, ties as scikit-learn treats them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def auroc(probs: Float[Tensor, "*shape"], vessels: Bool[Tensor, "*shape"]) -> float:
    """Chance that a vessel pixel ranks above a background pixel, a tie counting half; nan unless both classes occur.

    All entries are pooled; choose pixels with `probs[fov]` before the call.
    """
    tp, fp = _sweep(probs, vessels)
    if tp[-1] == 0 or fp[-1] == 0:
        return float("nan")
    return float(torch.trapezoid(tp, fp) / (tp[-1] * fp[-1]))


def average_precision(probs: Float[Tensor, "*shape"], vessels: Bool[Tensor, "*shape"]) -> float:
    """Sum over distinct probabilities of (rise in sensitivity) x precision; nan without vessel pixels.

    All entries are pooled; choose pixels with `probs[fov]` before the call.
    """
    tp, fp = _sweep(probs, vessels)
    if tp[-1] == 0:
        return float("nan")
    precision = tp[1:] / (tp[1:] + fp[1:])
    return float((tp.diff() * precision).sum() / tp[-1])


def _sweep(probs: Tensor, vessels: Tensor) -> tuple[Tensor, Tensor]:
    """True and false positives, float64 and from (0, 0) up, as the threshold falls past each distinct probability."""
    ranked, order = probs.detach().flatten().sort(descending=True)
    is_vessel = vessels.flatten()[order]
    last_of_tie = torch.ones_like(is_vessel)
    last_of_tie[:-1] = ranked[1:] != ranked[:-1]
    counts = (torch.nn.functional.pad(chosen.cumsum(0)[last_of_tie], (1, 0)) for chosen in (is_vessel, ~is_vessel))
    tp, fp = (count.cpu().double() for count in counts)
    return tp, fp
