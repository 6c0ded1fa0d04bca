"""The metrics of a validation or test epoch, exact and the same on one process or many."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from segkit.core.errors import ResultError
from segkit.metrics.confusion import FROM_CONFUSION
from segkit.metrics.curves import (
    MAX_LEVEL,
    NUM_LEVELS,
    LevelCounts,
    auprc_from_counts,
    auroc_from_counts,
    best_dice_threshold,
    confusion_at,
    ece_from_counts,
    log_loss_from_counts,
)

FROM_COUNTS = {
    "auroc": auroc_from_counts,
    "auprc": auprc_from_counts,
    "log_loss": log_loss_from_counts,
    "ece": ece_from_counts,
}


def count_levels(
    probs: Float[Tensor, "*shape"], vessels: Bool[Tensor, "*shape"], region: Bool[Tensor, "*shape"]
) -> Int[Tensor, "2 65536"]:
    """Background (row 0) and vessel (row 1) pixels of `region` at each 16-bit level of `probs`, which lie in [0, 1]."""
    # On float32 probabilities the nearest level is 32768 or more exactly where prob >= 0.5.
    levels = (probs[region].float() * MAX_LEVEL).round().long()
    index = levels + NUM_LEVELS * vessels[region].long()
    return torch.bincount(index, minlength=2 * NUM_LEVELS).view(2, NUM_LEVELS)


class VesselMetrics(Metric):
    """Pooled metrics of all pixels inside the field of view, over all images of all ranks.

    The state is one integer histogram of pixels per 16-bit level and class, summed over ranks: uneven numbers of images
    per rank, batch sizes and their order cannot change a digit. `compute` returns dice, sensitivity, specificity,
    precision, accuracy, mcc, iou and mean_iou at `threshold`, auroc, auprc, log_loss, ece, and best_dice_threshold.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None

    levels: Tensor

    def __init__(self, threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold
        self.add_state("levels", torch.zeros(2, NUM_LEVELS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, probs: Float[Tensor, "n 1 h w"], vessels: Float[Tensor, "n 1 h w"], fov: Bool[Tensor, "n 1 h w"]
    ) -> None:
        """Count a batch. Soft vessels are cut at 0.5.

        Raises ResultError if `probs` leave [0, 1] or hold nan inside the field of view.
        """
        probs = probs.detach()
        inside = probs[fov]
        if inside.numel() and not bool(((inside >= 0) & (inside <= 1)).all()):
            raise ResultError(
                f"probabilities from {float(inside.min()):.3g} to {float(inside.max()):.3g}, not in [0, 1]: nan means "
                "that training diverged (lower the learning rate), other values that logits were passed"
            )
        self.levels += count_levels(probs, vessels >= 0.5, fov)

    def counts(self) -> LevelCounts:
        """What was counted so far, on this rank until `compute` has gathered the others."""
        background, vessel = self.levels.cpu().numpy()
        return LevelCounts(vessel, background)

    def compute(self) -> dict[str, Tensor]:
        """Every metric as a 0-d float64 tensor on the CPU; nan where it has no meaning."""
        counts = self.counts()
        at_threshold = confusion_at(counts, self.threshold)
        values = {name: rate(at_threshold) for name, rate in FROM_CONFUSION.items()}
        values |= {name: number(counts) for name, number in FROM_COUNTS.items()}
        values["best_dice_threshold"] = best_dice_threshold(counts)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
