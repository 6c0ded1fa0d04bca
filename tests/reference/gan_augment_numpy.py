"""The augmentation in plain numpy, written from the paper and from textbooks, pixel by pixel and without matrices."""

from itertools import product

import numpy as np

from tests.reference.gan_numpy import bilinear, upfirdn


def symlets(num_moments):
    """All orthonormal low-pass filters with so many vanishing moments, by spectral factorisation (Daubechies 1992)."""
    # |H|^2 = 2 cos^2N(w/2) P(sin^2(w/2)), P(y) = sum_k (N - 1 + k choose k) y^k, and y = (2 - z - 1/z) / 4
    coefficients = [1.0]
    for k in range(1, num_moments):
        coefficients.append(coefficients[-1] * (num_moments - 1 + k) / k)
    pairs = []
    for y in np.roots(coefficients[::-1]):
        if y.imag >= 0:
            inside = min(np.roots([1, 4 * y - 2, 1]), key=abs)
            pairs.append((inside, 1 / inside))
    for choice in product(*pairs):
        zeros = [-1.0] * num_moments + [z for root in choice for z in {root, np.conj(root)}]
        taps = np.poly(zeros).real
        yield taps / taps.sum() * 2**0.5


def asymmetry(taps):
    """How far the phase is from a straight line: spread of the group delay over frequencies, weighted by power."""
    w = np.linspace(0, np.pi, 513)[:-1]
    e = np.exp(-1j * np.outer(w, np.arange(len(taps))))
    response = e @ taps
    delay = (e @ (taps * np.arange(len(taps))) / response).real
    power = np.abs(response) ** 2
    mean = (power * delay).sum() / power.sum()
    return (power * (delay - mean) ** 2).sum()


def band_filters(taps, num_taps, num_levels=3):
    """What of an impulse lies in each band of a decimated wavelet transform, averaged over where its grid begins.

    An orthonormal transform splits a signal into details of each level and a rest; each part, transformed back, is a
    projection. The averages over all shifts of the grid are filters. Lowest band first.
    """
    size = 128
    impulse = np.eye(size)[size // 2]
    parts = np.zeros((num_levels + 1, size))
    shifts = range(2**num_levels)
    for shift in shifts:
        bases = wavelet_bases(taps, size, num_levels)
        shifted = np.roll(impulse, shift)
        parts += [np.roll(basis.T @ (basis @ shifted), -shift) / len(shifts) for basis in bases]
    half = num_taps // 2
    return parts[:, size // 2 - half : size // 2 + half + 1]


def wavelet_bases(taps, size, num_levels):
    """Rows: the scaling functions of the last level, then the wavelets of each level, coarsest first; periodic."""
    high = taps[::-1] * (-1.0) ** np.arange(len(taps))
    approximation, details = np.eye(size), []
    for _ in range(num_levels):
        length = len(approximation)
        steps = [np.zeros((length // 2, length)) for _ in range(2)]
        for step, filter_taps in zip(steps, (taps, high), strict=True):
            for row, k in product(range(length // 2), range(len(taps))):
                step[row, (2 * row + k) % length] += filter_taps[k]
        details.append(steps[1] @ approximation)
        approximation = steps[0] @ approximation
    return [approximation, *reversed(details)]


def amplify(image, gains, bands):
    """Filter rows, then columns, of (c, h, w), with borders reflected as often as needed."""
    kernel = sum(gain * band for gain, band in zip(gains, bands, strict=True))
    half = len(kernel) // 2

    def along_rows(plane):
        return np.stack([np.convolve(np.pad(row, half, mode="reflect"), kernel, mode="valid") for row in plane])

    return np.stack([along_rows(along_rows(plane).T).T for plane in image])


def normalised_gains(factors):
    """Each band's factor in turn, None for none, dividing all by what becomes of an image with a 1 / f spectrum."""
    gains = np.ones(4)
    for band, factor in enumerate(factors):
        if factor is not None:
            power = sum((10 if k == 0 else 1) * (factor**2 if k == band else 1) for k in range(4)) / 13
            gains = np.array([g * (factor if k == band else 1) / power**0.5 for k, g in enumerate(gains)])
    return gains


def turn_hue(color, theta):
    """Turn in the plane perpendicular to gray, with axes along gray, along red's part of the plane, and the third."""
    gray = np.ones(3) / 3**0.5
    red = np.array([2.0, -1, -1]) / 6**0.5
    third = np.array([0.0, 1, -1]) / 2**0.5
    along, x, y = color @ gray, color @ red, color @ third
    x, y = np.cos(theta) * x - np.sin(theta) * y, np.sin(theta) * x + np.cos(theta) * y
    return along * gray + x * red + y * third


def recolor(image, added=0.0, factor=1.0, flipped=False, theta=0.0, saturation=1.0):
    """Brightness, contrast, luma flip, hue and saturation of (3, h, w), one pixel after the other."""
    out = np.zeros_like(image)
    for row, column in np.ndindex(image.shape[1:]):
        color = (image[:, row, column] + added) * factor
        if flipped:
            color = color - 2 * color.mean()
        color = turn_hue(color, theta)
        out[:, row, column] = color.mean() + saturation * (color - color.mean())
    return out


def cut_out(image, x, y):
    """Gray out the square of half the edge around (x, y), in shares of the edge."""
    edge = image.shape[-1]
    out = image.copy()
    for row, column in np.ndindex(image.shape[1:]):
        if round((x - 0.25) * edge) <= column < round((x + 0.25) * edge) and (
            round((y - 0.25) * edge) <= row < round((y + 0.25) * edge)
        ):
            out[:, row, column] = 0
    return out


def warp(image, matrix, taps):
    """Reflect the borders, double, sample and halve (c, r, r) as the paper tells it, `taps` summing to one."""
    edge = image.shape[-1]
    half = edge / 2 + 3
    corners = np.array([[x, y, 1] for x in (-half, half) for y in (-half, half)])
    reach = max(int(np.ceil(np.abs(corners @ matrix.T)[:, :2].max() - edge / 2)), 0) + 4
    image = np.pad(image, [(0, 0), (reach, reach), (reach, reach)], mode="reflect")
    doubled = upfirdn(image[None], 2 * taps, up=2, pad=(6, 5))[0]
    lag = -0.5  # doubling moves the picture by about as much: tests/reference/official/README.md
    steps = np.arange(2 * edge + 10) - (2 * edge + 9) / 2 - lag
    x, y = np.meshgrid(steps / 2, steps / 2)
    x, y = (matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] for k in range(2))
    middle = (doubled.shape[-1] - 1) / 2 + lag
    sampled = np.stack([bilinear(plane, 2 * x + middle, 2 * y + middle) for plane in doubled])
    return upfirdn(sampled[None], taps[::-1], down=2)[0]
