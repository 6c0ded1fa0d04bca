"""The augmentation against images of the official code, and once more in plain numpy."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erfinv

from gan.augment import AugmentPipe, Transforms, draw
from gan.augment.draws import Column
from gan.augment.pipe import PRESETS
from gan.augment.wavelets import SYM2, SYM6
from tests.gan.augment.draws import rng
from tests.gan.official_numbers import QUANTILES, TRANSFORMS, numbers
from tests.reference import gan_augment_numpy as reference

N = numbers("augmentation")
GEOMETRY = {
    "xflip": "x_flip",
    "rotate90": "quarter_turns",
    "xint": "whole_shift",
    "scale": "scale_std",
    "rotate": "turn",
    "aniso": "stretch_std",
    "xfrac": "shift_std",
}
COLOR = {
    "brightness": "brightness_std",
    "contrast": "contrast_std",
    "lumaflip": "luma_flip",
    "hue": "hue",
    "saturation": "saturation_std",
}
OURS = {"imgfilter": "filter", "bgcf+cutout": "bgcfnc"}
TOGETHER = {
    "blit": ("xflip", "rotate90", "xint"),
    "geom": ("scale", "rotate", "aniso", "xfrac"),
    "color": tuple(COLOR),
    "bg": tuple(GEOMETRY),
    "bgcf+cutout": (*GEOMETRY, *COLOR, "imgfilter", "cutout"),
}


def only(part, fields, name):
    """Of what a preset does, the transform of one official name."""
    return type(part)(**{fields[name]: getattr(part, fields[name])})


def transforms_of(name):
    everything = PRESETS["bgcfnc"]
    if name in GEOMETRY:
        return Transforms(geometry=only(everything.geometry, GEOMETRY, name))
    if name in COLOR:
        return Transforms(color=only(everything.color, COLOR, name))
    return PRESETS[OURS.get(name, name)]._replace(noise_std=0.0)


def draws_at(quantile, num_images):
    """Every random amount at a quantile; every transform applied but the second turn, which the numbers leave out."""
    draws = draw(num_images, rng(0))
    apply = torch.zeros_like(draws.apply)
    apply[:, Column.SECOND_TURN] = 2
    normal = float(erfinv(2 * quantile - 1))
    return draws._replace(
        apply=apply,
        uniform=torch.full_like(draws.uniform, quantile),
        normal=torch.full_like(draws.normal, normal),
    )


def augmented(images, name, quantile):
    pipe = AugmentPipe("bg", 1.0)
    pipe.transforms = transforms_of(name)
    return pipe(images, draws_at(quantile, len(images)))


# once more, step by step ----------------------------------------------------------------------------------------------


def matrix_of(names, quantile, edge):
    """(3, 3): from output to input, in pixels from the centre; each transform is undone, the first one last."""
    even, normal = 2 * quantile - 1, float(erfinv(2 * quantile - 1))
    quarters, shift = math.floor(4 * quantile), round(0.125 * even * edge)

    def turned(angle):
        return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])

    def shifted(by):
        return np.array([[1, 0, -by], [0, 1, -by], [0, 0, 1]])

    undone = {
        "xflip": np.diag([1 - 2 * math.floor(2 * quantile), 1, 1]),
        "rotate90": turned(quarters * np.pi / 2),
        "xint": shifted(shift),
        "scale": np.diag([2 ** (-0.2 * normal), 2 ** (-0.2 * normal), 1]),
        "rotate": turned(even * np.pi),
        "aniso": np.diag([2 ** (-0.2 * normal), 2 ** (0.2 * normal), 1]),
        "xfrac": shifted(0.125 * normal * edge),
    }
    matrix = np.eye(3)
    for name, step in undone.items():
        if name in names:
            matrix = matrix @ step
    return matrix


def step_by_step(image, name, quantile):
    names, edge = TOGETHER.get(name, (name,)), image.shape[-1]
    even, normal = 2 * quantile - 1, float(erfinv(2 * quantile - 1))
    if GEOMETRY.keys() & set(names):
        image = reference.warp(image, matrix_of(names, quantile, edge), np.array(SYM6) / sum(SYM6))
    amounts = {
        "brightness": {"added": 0.2 * normal},
        "contrast": {"factor": 2 ** (0.5 * normal)},
        "lumaflip": {"flipped": quantile >= 0.5},
        "hue": {"theta": even * np.pi},
        "saturation": {"saturation": 2**normal},
    }
    colors = [amounts[name] for name in names if name in amounts]
    if colors:
        image = reference.recolor(image, **{key: value for amount in colors for key, value in amount.items()})
    if "imgfilter" in names:
        gains = reference.normalised_gains([2**normal] * 4)
        image = reference.amplify(image, gains, reference.band_filters(np.array(SYM2), 43))
    return reference.cut_out(image, quantile, quantile) if "cutout" in names else image


# the tests ------------------------------------------------------------------------------------------------------------

EACH = pytest.mark.parametrize(("name", "quantile"), [(name, q) for name in TRANSFORMS for q in QUANTILES])


@EACH
def test_images_become_what_the_official_code_makes_of_them(name, quantile):
    found = augmented(N["images"], name, quantile)
    torch.testing.assert_close(found, N[f"{name}@{quantile}"], rtol=0, atol=1e-4)


@EACH
def test_so_they_do_step_by_step(name, quantile):
    found = np.stack([step_by_step(image, name, quantile) for image in N["images"].double().numpy()])
    np.testing.assert_allclose(found, N[f"{name}@{quantile}"], rtol=0, atol=1e-4)


def test_every_image_of_the_file_is_compared():
    assert {f"{name}@{quantile}" for name in TRANSFORMS for quantile in QUANTILES} | {"images"} == N.keys()
