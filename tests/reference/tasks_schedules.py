"""Learning rates step by step, each schedule written as its paper or its name says."""

import numpy as np


def paper(steps_per_epoch):
    """1e-3 for 100 epochs, then 1e-4 for 50."""
    return np.repeat([1e-3, 1e-4], [100 * steps_per_epoch, 50 * steps_per_epoch])


def warmup(rate, num_steps):
    """From 0 in equal rises; the step after the last has the whole rate."""
    return rate * np.arange(num_steps) / num_steps


def cosine(rate, final, num_steps):
    """Loshchilov 2017, Eq. 5, within one cycle of `num_steps`."""
    t = np.arange(num_steps)
    low = rate * final
    return low + 0.5 * (rate - low) * (1 + np.cos(np.pi * t / num_steps))
