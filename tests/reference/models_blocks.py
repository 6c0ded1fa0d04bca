"""Blocks of the networks in plain numpy, in float64."""

import numpy as np


def spatial_attention(features, kernel):
    """Woo 2018, Eq. 3: features (c, h, w) times the sigmoid of a convolution of their mean and maximum over channels.

    `kernel` is (2, k, k) with k odd; outside the map are zeros.
    """
    pooled = np.stack([features.mean(0), features.max(0)]).astype(np.float64)
    k = kernel.shape[-1] // 2
    padded = np.pad(pooled, ((0, 0), (k, k), (k, k)))
    gate = np.zeros(features.shape[1:])
    for row, column in np.ndindex(*gate.shape):
        gate[row, column] = (padded[:, row : row + 2 * k + 1, column : column + 2 * k + 1] * kernel).sum()
    return features / (1 + np.exp(-gate))


def group_norm(features, num_groups, epsilon=1e-5):
    """(n, c, h, w) with mean 0 and variance 1 in each group of each image's channels."""
    out = np.empty(features.shape)
    for image, moved in zip(features, out, strict=True):
        for part, target in zip(np.split(image, num_groups), np.split(moved, num_groups), strict=True):
            target[...] = (part - part.mean()) / np.sqrt(part.var() + epsilon)
    return out


def num_parameters(widths, image_channels=3, attention_size=7):
    """Trainable numbers of SA-UNet, layer by layer: kernels and biases, scale and shift of each norm."""

    def unit(a, b):
        return 9 * a * b + b + 2 * b

    *levels, bottom = widths
    total, before = 0, image_channels
    for width in levels:
        total += unit(before, width) + unit(width, width)
        before = width
    total += unit(before, bottom) + 2 * attention_size**2 + unit(bottom, bottom)
    before = bottom
    for width in reversed(levels):
        total += 9 * before * width + width  # 3x3 transposed convolution
        total += unit(2 * width, width) + unit(width, width)
        before = width
    return total + before + 1
