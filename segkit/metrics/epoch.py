"""The metrics of a validation epoch, exact and the same on one process or many."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import ResultError
from segkit.metrics.curves import MAX_LEVEL, NUM_LEVELS, best_dice_threshold
from segkit.metrics.measure import ALL, pooled_statistic
from segkit.metrics.metrics import EPOCH_METRICS, METRICS
from segkit.metrics.score import ARGMAX, Cut, ImageScore, Key
from segkit.metrics.significance import point_estimate


def count_levels(
    probs: Float[Tensor, "*shape"], truth: Bool[Tensor, "*shape"], region: Bool[Tensor, "*shape"]
) -> Int[Tensor, "2 65536"]:
    """Positive (row 0) and negative (row 1) pixels of `region` at each 16-bit level of `probs`, which lie in [0, 1]."""
    # On float32 probabilities the nearest level is 32768 or more exactly where prob >= 0.5.
    levels = (probs[region].float() * MAX_LEVEL).round().long()
    index = levels + NUM_LEVELS * (~truth[region]).long()
    return torch.bincount(index, minlength=2 * NUM_LEVELS).view(2, NUM_LEVELS)


class SegmentationMetrics(Metric):
    """Pooled metrics of all pixels inside the region, over all images of all ranks.

    The state is integer counts summed over ranks (pixels per 16-bit level and class; of several classes also their
    confusion matrix), so that uneven numbers of images per rank, batch sizes and their order cannot change a digit.
    `compute` returns `EPOCH_METRICS`; in a binary task at `threshold`, and with best_dice_threshold; of several classes
    those of all, and `<metric>/<class>` of each.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None

    levels: Tensor
    joint: Tensor

    def __init__(self, classes: Classes = VESSEL, threshold: float = 0.5, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.classes, self.threshold = classes, threshold
        num_classes = len(classes.names)
        self.add_state("levels", torch.zeros(num_classes, 2, NUM_LEVELS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("joint", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, probs: Float[Tensor, "n k h w"], target: Float[Tensor, "n k h w"], region: Bool[Tensor, "n 1 h w"]
    ) -> None:
        """Count a batch. A soft target is cut at 0.5; pixels that belong to no class of several do not count.

        Raises:
            ResultError: `probs` leave [0, 1] or hold nan inside the region.
        """
        probs = probs.detach()
        inside = probs[region.expand_as(probs)]
        if inside.numel() and not bool(((inside >= 0) & (inside <= 1)).all()):
            raise ResultError(
                f"probabilities from {float(inside.min()):.3g} to {float(inside.max()):.3g}, not in [0, 1]: nan means "
                "that training diverged (lower the learning rate), other values that logits were passed"
            )
        truth = target >= 0.5
        several = probs.shape[1] > 1
        counted = region[:, 0] & truth.any(1) if several else region[:, 0]
        best = probs.argmax(1)
        for index in range(probs.shape[1]):
            self.levels[index] += count_levels(probs[:, index], truth[:, index], counted)
            if several:
                predicted = best[counted & truth[:, index]]
                self.joint[index] += torch.bincount(predicted, minlength=probs.shape[1])

    def compute(self) -> dict[str, Tensor]:
        """Every metric as a 0-d float64 tensor on the CPU; nan where it has no meaning."""
        pooled, cut = self._pooled()
        several = len(self.classes.names) > 1
        values = {name: _value(pooled, name, cut, ALL if several else None) for name in EPOCH_METRICS}
        if several:
            values |= {
                f"{name}/{class_name}": _value(pooled, name, cut, class_name)
                for class_name in self.classes.names
                for name in EPOCH_METRICS
                if not METRICS[name].of_the_map
            }
        else:
            values["best_dice_threshold"] = best_dice_threshold(pooled.levels(self.classes.names[0], "fov"))
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}

    def _pooled(self) -> tuple[ImageScore, Cut]:
        """All pixels as one image, and where its prediction is cut."""
        levels, joint = self.levels.cpu().numpy(), self.joint.cpu().numpy()
        tp = np.diagonal(joint)
        fp, fn = joint.sum(axis=0) - tp, joint.sum(axis=1) - tp
        confusion = np.stack([tp, fp, fn, joint.sum() - tp - fp - fn], axis=1)
        arrays: dict[Key, np.ndarray] = {}
        several = len(self.classes.names) > 1
        for index, name in enumerate(self.classes.names):
            arrays[Key(name, "fov", "levels", None)] = levels[index]
            if several:
                arrays[Key(name, "fov", "confusion", ARGMAX)] = confusion[index]
                arrays[Key(name, "fov", "joint", ARGMAX)] = joint[index]
        return ImageScore("epoch", "epoch", arrays), ARGMAX if several else self.threshold


def _value(pooled: ImageScore, metric: str, cut: Cut, class_name: str | None) -> float:
    return point_estimate(pooled_statistic([pooled], metric, "fov", cut, class_name), 1)
