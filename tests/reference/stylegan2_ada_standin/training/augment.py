"""Karras 2020b, Appendix B, written again: one image after another, as the paper tells it."""

import numpy as np
import torch

from tests.reference.gan_augment_numpy import asymmetry, symlets

AMOUNTS = {
    "xint": 0.125,
    "scale": 0.2,
    "rotate": np.pi,
    "aniso": 0.2,
    "xfrac": 0.125,
    "brightness": 0.2,
    "contrast": 0.5,
    "hue": np.pi,
    "saturation": 1.0,
    "imgfilter": 1.0,
    "noise": 0.1,
    "cutout": 0.5,
}
"""How far each transform goes: the bounds of even amounts, the deviation of normal ones, the edge of a hole."""
PLACES = {"xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac"}
BORDER = 9  # pixels that the filters need around those that are read
TAPS = torch.from_numpy(min(symlets(6), key=asymmetry) / 2**0.5).float()
SYM6 = torch.outer(TAPS, TAPS)[None, None]


def homogeneous(*rows):
    return np.array([*rows, [0.0] * (len(rows[0]) - 1) + [1.0]])


def turn(angle):
    return homogeneous([np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0])


def scale(x, y):
    return homogeneous([x, 0, 0], [0, y, 0])


def shift(x, y):
    return homogeneous([1, 0, x], [0, 1, y])


GREY = np.ones(3) / np.sqrt(3)
ALONG = np.outer(GREY, GREY)


def colours(matrix, offset=(0.0, 0.0, 0.0)):
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = matrix, offset
    return whole


def turn_about_grey(angle):
    """Rodrigues' formula."""
    x, y, z = GREY
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * ALONG


class Numbers:
    """Random numbers of torch, by the names of numpy's generators."""

    def random(self, size=()):
        return torch.rand(size, dtype=torch.float64).numpy()

    def integers(self, count):
        return int(self.random() * count)

    def uniform(self, low, high):
        return low + (high - low) * self.random()

    def normal(self, mean=0.0, deviation=1.0, size=()):
        return mean + deviation * torch.randn(size, dtype=torch.float64).numpy()


class AugmentPipe(torch.nn.Module):
    def __init__(self, **multipliers):
        super().__init__()
        self.multipliers = multipliers
        self.register_buffer("p", torch.ones([]))

    def forward(self, images):
        rng = Numbers()
        edge = images.shape[-1]
        augmented = [self.one(image, edge, rng) for image in images.double().numpy()]
        return torch.from_numpy(np.stack(augmented)).float()

    def happens(self, rng, name, twice=False):
        p = float(self.p) * self.multipliers.get(name, 0)
        return rng.random() < (1 - np.sqrt(1 - p) if twice else p)

    def one(self, image, edge, rng):
        if self.multipliers.keys() & PLACES:
            image = read(image, np.linalg.inv(self.geometry(edge, rng)))
        flat = np.concatenate([image.reshape(3, -1), np.ones((1, image[0].size))])
        image = (self.colour(rng) @ flat)[:3].reshape(image.shape)
        image = amplify(image, self.gains(rng))
        if self.happens(rng, "noise"):
            image = image + np.abs(normal(rng, "noise")) * rng.normal(size=image.shape)
        if self.happens(rng, "cutout"):
            x, y = rng.random(2)
            at = (np.arange(edge) + 0.5) / edge
            hidden = np.outer(np.abs(at - y) < AMOUNTS["cutout"] / 2, np.abs(at - x) < AMOUNTS["cutout"] / 2)
            image = np.where(hidden, 0.0, image)
        return image

    def geometry(self, edge, rng):
        """Where a point of the image goes, in pixels from the centre."""
        there = np.eye(3)
        if self.happens(rng, "xflip"):
            there = scale(1 - 2 * rng.integers(2), 1) @ there
        if self.happens(rng, "rotate90"):
            there = turn(np.pi / 2 * rng.integers(4)).round() @ there
        if self.happens(rng, "xint"):
            there = shift(*np.round([even(rng, "xint") * edge, even(rng, "xint") * edge])) @ there
        if self.happens(rng, "scale"):
            size = 2 ** normal(rng, "scale")
            there = scale(size, size) @ there
        if self.happens(rng, "rotate", twice=True):
            there = turn(even(rng, "rotate")) @ there
        if self.happens(rng, "aniso"):
            size = 2 ** normal(rng, "aniso")
            there = scale(size, 1 / size) @ there
        if self.happens(rng, "rotate", twice=True):
            there = turn(even(rng, "rotate")) @ there
        if self.happens(rng, "xfrac"):
            there = shift(normal(rng, "xfrac") * edge, normal(rng, "xfrac") * edge) @ there
        return there

    def colour(self, rng):
        """Of (R, G, B, 1)."""
        matrix = np.eye(4)
        if self.happens(rng, "brightness"):
            matrix = colours(np.eye(3), [normal(rng, "brightness")] * 3) @ matrix
        if self.happens(rng, "contrast"):
            matrix = colours(np.eye(3) * 2 ** normal(rng, "contrast")) @ matrix
        if self.happens(rng, "lumaflip"):
            matrix = colours(np.eye(3) - 2 * ALONG * rng.integers(2)) @ matrix
        if self.happens(rng, "hue"):
            matrix = colours(turn_about_grey(even(rng, "hue"))) @ matrix
        if self.happens(rng, "saturation"):
            matrix = colours(ALONG + (np.eye(3) - ALONG) * 2 ** normal(rng, "saturation")) @ matrix
        return matrix

    def gains(self, rng):
        """Of the frequency bands, the lowest first; the expected power, of 1/f images, stays as it is."""
        gains = np.ones(4)
        for band in range(4):
            if self.happens(rng, "imgfilter"):
                factors = np.ones(4)
                factors[band] = 2 ** normal(rng, "imgfilter")
                gains *= factors / np.sqrt(np.dot([10 / 13, 1 / 13, 1 / 13, 1 / 13], factors**2))
        return gains


def even(rng, name):
    return rng.uniform(-AMOUNTS[name], AMOUNTS[name])


def normal(rng, name):
    return rng.normal(0, AMOUNTS[name])


def amplify(image, gains):
    """Rows, then columns, by way of their spectra; borders are mirrors."""
    if (gains == 1).all():
        return image
    border, edge = 21, image.shape[-1]
    image = np.pad(image, [(0, 0), (border, border), (border, border)], mode="reflect")
    response = gains @ bands(2 * np.pi * np.fft.fftfreq(image.shape[-1]))
    spectrum = np.fft.fft2(image) * response * response[:, None]
    return np.fft.ifft2(spectrum).real[:, border : border + edge, border : border + edge]


def bands(frequency):
    """Power that the four bands of the second Daubechies wavelet pass, lowest first (Daubechies 1988, Eq. 4.7)."""

    def lower(f):
        y = np.sin(f / 2) ** 2
        return (1 - y) ** 2 * (1 + 2 * y)

    low = [lower(frequency), lower(2 * frequency), lower(4 * frequency)]
    return np.stack([low[0] * low[1] * low[2], low[0] * low[1] * (1 - low[2]), low[0] * (1 - low[1]), 1 - low[0]])


def read(image, back):
    """Borders mirrored as far as is read, the resolution doubled, each pixel read between four, the resolution halved.

    All is turned about the middle of what doubling makes, which the filter shifts, as it is not symmetric.
    """
    edge, middle = image.shape[-1], (image.shape[-1] - 1) / 2
    corners = np.array([[x, y, 1] for x in (-edge, edge) for y in (-edge, edge)]) / [2, 2, 1]
    reached = (back @ corners.T)[:2]
    before = np.maximum(np.ceil(-reached.min(axis=1) - middle), 0).astype(int) + BORDER
    after = np.maximum(np.ceil(reached.max(axis=1) - middle), 0).astype(int) + BORDER
    image = np.pad(image, [(0, 0), (before[1], after[1]), (before[0], after[0])], mode="reflect")
    plane = torch.nn.functional.conv_transpose2d(torch.from_numpy(image).float()[:, None], 4 * SYM6, None, 2, 5)
    steps = (np.arange(2 * edge + 10) - (2 * edge + 9) / 2) / 2
    x, y = np.meshgrid(steps, steps)
    there = (back[:2] @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])).T + middle + before
    grid = torch.from_numpy((2 * there + 1) / image.shape[:0:-1] - 1).float().view(1, len(steps), len(steps), 2)
    seen = torch.nn.functional.grid_sample(plane[None, :, 0], grid, align_corners=False)
    return torch.nn.functional.conv2d(seen[0, :, None], SYM6, stride=2)[:, 0].double().numpy()
