"""The controller of adaptive discriminator augmentation (Karras 2020b, section 3)."""

import math


def ada_step(batch_size: int, ada_interval: int, ada_ramp_kimg: float) -> float:
    """Change of the chance at one adjustment: it can go from 0 to 1 in `ada_ramp_kimg` thousand images."""
    return batch_size * ada_interval / (ada_ramp_kimg * 1000)


def next_ada_p(p: float, overfitting: float, target: float, step: float) -> float:
    """Move the augmentation chance one step towards the overfitting target, within [0, 1].

    Args:
        overfitting: r_t = E[sign D(real)], in [-1, 1]; 1 when D classifies every training image as real.
    """
    if overfitting == target:
        return p
    return min(1.0, max(0.0, p + math.copysign(step, overfitting - target)))
