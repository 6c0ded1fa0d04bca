"""Numbers that the official StyleGAN2-ADA computed; what they are: tests/reference/official/README.md.

SEGKIT_OFFICIAL_NUMBERS names another folder of the same form.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch

from gan.checkpoints.interop.snapshot import read_snapshot
from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from tests.reference import gan_official_pickle as pickle_form

FOLDER = Path(os.environ.get("SEGKIT_OFFICIAL_NUMBERS", Path(__file__).resolve().parents[1] / "reference" / "official"))
TRUNCATIONS = ((1.0, None), (0.7, None), (0.5, 4), (0.0, None))
"""Psi and cutoff of `mapping0`, `image0` and so on."""
TRANSFORMS = ("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac", "brightness", "contrast", "lumaflip")
TRANSFORMS += ("hue", "saturation", "imgfilter", "cutout", "blit", "geom", "color", "bg", "bgcf+cutout")
QUANTILES = (0.2, 0.6, 0.9)


@cache
def numbers(name):
    """The tensors of `networks` or `augmentation`, by their keys."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def below(prefix):
    """Tensors whose keys begin with a network or a phase, by the names after it."""
    return {
        key.removeprefix(f"{prefix}/"): value
        for key, value in numbers("networks").items()
        if key.startswith(f"{prefix}/")
    }


def write_snapshot(path):
    """A `.pkl` in the official form with the official tensors; both generators are the same."""
    generator, discriminator = below("G"), below("D")
    path.write_bytes(pickle_form.dumps(pickle_form.snapshot(generator, discriminator, generator)))


def networks(settings, layers):
    """Generator and discriminator with the official tensors under their official names."""
    built = Generator(settings, layers), Discriminator(settings, layers)
    for network, prefix in zip(built, "GD", strict=True):
        network.load_state_dict(below(prefix))
    return built


def read_settings(path):
    """What an import makes of the official tensors, with the official groups of the minibatch deviation."""
    write_snapshot(path)
    return read_snapshot(path).settings.model_copy(update={"mbstd_group_size": 4})
