"""The GAN's arithmetic in plain numpy, float64, written from the papers with loops instead of tricks."""

import numpy as np


def upfirdn(x, taps, up=1, down=1, pad=(0, 0)):
    """Insert zeros, pad, filter with the outer product of `taps` (true convolution), keep every `down`-th pixel."""
    n, c, h, w = x.shape
    kernel = np.outer(taps, taps)[::-1, ::-1]
    spread = np.zeros((n, c, h * up, w * up))
    spread[:, :, ::up, ::up] = x
    spread = np.pad(spread, [(0, 0), (0, 0), pad, pad])
    size = len(taps)
    height, width = spread.shape[2] - size + 1, spread.shape[3] - size + 1
    out = np.zeros((n, c, height, width))
    for i in range(size):
        for j in range(size):
            out += kernel[i, j] * spread[:, :, i : i + height, j : j + width]
    return out[:, :, ::down, ::down]


def correlate(x, weight, pad=0, stride=1):
    """What deep learning calls a convolution, for one image (c, h, w) and weight (o, c, k, k)."""
    x = np.pad(x, [(0, 0), (pad, pad), (pad, pad)])
    size = weight.shape[-1]
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    out = np.zeros((weight.shape[0], height, width))
    for i in range(size):
        for j in range(size):
            out += np.einsum("oc,chw->ohw", weight[:, :, i, j], x[:, i : i + height, j : j + width])
    return out[:, ::stride, ::stride]


TAPS = np.array([1.0, 3.0, 3.0, 1.0]) / 8


def conv_up(image, weight):
    """Zero insertion, filter, 3x3 convolution on one image, the order in which the paper tells it.

    A true convolution, with the kernel turned by 180 degrees: tests/reference/official/README.md.
    """
    # the plane is padded once, before filtering, so that nothing the filter spreads is cut off in between
    spread = upfirdn(image[None], 2 * TAPS, up=2, pad=(3, 2))[0]
    return correlate(spread, weight[:, :, ::-1, ::-1])


def conv_down(image, weight):
    """Filter, then correlation with stride two, on one image."""
    pad = (2, 2) if weight.shape[-1] == 3 else (1, 1)
    return correlate(upfirdn(image[None], TAPS, pad=pad)[0], weight, stride=2)


def modulated_conv(x, weight, styles, demodulate=True, up=False):
    """Each image with weights of its own (Karras 2020a, Eqs. 1 and 3)."""
    images = []
    for image, style in zip(x, styles, strict=True):
        w = weight * style[None, :, None, None]
        if demodulate:
            w = w / np.sqrt((w**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)
        images.append(conv_up(image, w) if up else correlate(image, w, pad=weight.shape[-1] // 2))
    return np.stack(images)


def leaky_relu(x, gain=2**0.5, clamp=None):
    y = np.where(x > 0, x, 0.2 * x) * gain
    return y if clamp is None else np.clip(y, -clamp, clamp)


def minibatch_std(x, group_size):
    """Group g holds images g, g + n/size, g + 2 n/size, ..."""
    n = len(x)
    extra = np.zeros((n, 1, *x.shape[2:]))
    num_groups = n // group_size
    for group in range(num_groups):
        members = [group + k * num_groups for k in range(group_size)]
        extra[members] = np.sqrt(x[members].var(axis=0) + 1e-8).mean()
    return np.concatenate([x, extra], axis=1)


def bilinear(image, xs, ys):
    """Sample (h, w) at pixel coordinates; zeros outside."""
    height, width = image.shape

    def at(rows, columns):
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        return np.where(inside, image[rows.clip(0, height - 1), columns.clip(0, width - 1)], 0.0)

    left, top = np.floor(xs).astype(int), np.floor(ys).astype(int)
    fx, fy = xs - left, ys - top
    upper = (1 - fx) * at(top, left) + fx * at(top, left + 1)
    lower = (1 - fx) * at(top + 1, left) + fx * at(top + 1, left + 1)
    return (1 - fy) * upper + fy * lower


def finite_difference(function, x, step=1e-6):
    """Gradient of a scalar function by central differences."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        there, back = x.copy(), x.copy()
        there[index] += step
        back[index] -= step
        gradient[index] = (function(there) - function(back)) / (2 * step)
    return gradient
