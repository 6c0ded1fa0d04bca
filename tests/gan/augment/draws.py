"""Chosen random numbers for tests of the augmentation."""

import torch

from gan.augment.draws import Column, Draws


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def no_draws(num_images=1):
    """Nothing is drawn for any image, at any chance below 1."""
    size = num_images, len(Column)
    zeros = torch.zeros(*size, 2, dtype=torch.float64)
    return Draws(torch.ones(size, dtype=torch.float64), zeros, zeros.clone(), torch.arange(num_images))


def draws_of(column, uniform=(0.5, 0.5), normal=(0.0, 0.0), others=None):
    """One image for which only the transform of this column is drawn, or this one too beside `others`."""
    draws = others or no_draws()
    draws.apply[0, column] = 0.0
    draws.uniform[0, column], draws.normal[0, column] = (
        torch.tensor(value, dtype=torch.float64) for value in (uniform, normal)
    )
    return draws
