"""Our augmentation against the official one.

Compared to 1e-4, for given numbers, which `torch.rand` and `torch.randn` then answer both pipes with: the matrix of
each transform, and of several together. Those of colours show in what becomes of colours; those of geometry in the
places that the official pipe hands to PyTorch's bilinear sampler, in pixels about the point where its scaling leaves
an image. More loosely: where things then are in the images. As distributions: where all transforms move things, and
which colours, noise and holes there are.
"""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from gan.augment import GEOMETRIES, AugmentPipe, Transforms, draw, geometry_matrices
from gan.augment.draws import Column
from tests.gan.augment_draws import rng
from tests.gan.parity.checkout import STAND_IN, close
from tests.gan.parity.images import (
    EDGE,
    coloured,
    filtered,
    grey_level,
    holed,
    patches,
    placed,
    points,
    speckled,
    texture,
)
from tests.gan.parity.sampled_places import about, fixed_point, movement, sampled
from tests.reference.stylegan2_ada_standin.training import augment

# the official code warns of its age in several ways
pytestmark = pytest.mark.filterwarnings("ignore")

OPTIONS = {
    "blit": ("xflip", "rotate90", "xint"),
    "geom": ("scale", "rotate", "aniso", "xfrac"),
    "color": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
}
"""What the official presets switch on."""
NUM_DRAWN = 1500


# as distributions -----------------------------------------------------------------------------------------------------

SEEN = {
    "blit": (points, placed),
    "geom": (points, placed),
    "color": (patches, coloured),
    "filter": (texture, filtered),
    "noise": (grey_level, speckled),
    "cutout": (grey_level, holed),
}


def compare_augmentation(official, preset, p):
    image, statistics = SEEN[preset]
    theirs = official.augment.AugmentPipe(**dict.fromkeys(OPTIONS[preset], 1))
    theirs.p.copy_(torch.tensor(p))
    torch.manual_seed(11)
    batch = image().expand(NUM_DRAWN, -1, -1, -1).contiguous()
    with torch.no_grad():
        expected = statistics(theirs(batch))
        found = statistics(AugmentPipe(preset, p)(batch, draw(NUM_DRAWN, rng(12))))
    for name, values in expected.items():
        # Kolmogorov and Smirnov: equal distributions differ by more about once in ten thousand times
        distance = ks_2samp(values.numpy(), found[name].numpy(), method="asymp").statistic
        assert distance < 2.25 * (2 / NUM_DRAWN) ** 0.5, f"{name}: {distance:.3f}"


# for given numbers ----------------------------------------------------------------------------------------------------


class Numbers:
    """What torch draws, in any order: one uniform and one normal number, over and over."""

    def __init__(self, monkeypatch, uniform, normal):
        self.uniform, self.normal = uniform, normal
        for name, value in (("rand", uniform), ("randn", normal)):
            monkeypatch.setattr(torch, name, lambda *size, value=value, **options: torch.full(_size(size), value))

    def draws(self, num_images):
        """The same for our pipe, every transform applied."""
        return draw(num_images, rng(0))._replace(
            apply=torch.zeros(num_images, len(Column), dtype=torch.float64),
            uniform=torch.full([num_images, len(Column), 2], self.uniform, dtype=torch.float64),
            normal=torch.full([num_images, len(Column), 2], self.normal, dtype=torch.float64),
        )


def _size(size):
    return list(size[0]) if len(size) == 1 and not isinstance(size[0], int) else list(size)


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
GIVEN = [(0.3, 0.7), (0.85, -0.4)]


def of(official, names):
    """The official pipe with these transforms, applied to every image."""
    return official.augment.AugmentPipe(**dict.fromkeys(names, 1))


def only(preset, fields, names):
    """Of what a preset does, the transforms of these official names."""
    return type(preset)(**{fields[name]: getattr(preset, fields[name]) for name in names})


def compare_colours_for_given_numbers(official, monkeypatch, names, uniform, normal):
    numbers = Numbers(monkeypatch, uniform, normal)
    ours = AugmentPipe("color", 1.0)
    ours.transforms = Transforms(color=only(ours.transforms.color, COLOR, names))
    with torch.no_grad():
        close(ours(patches(), numbers.draws(1)), of(official, names)(patches()))


def compare_places_for_given_numbers(official, monkeypatch, names, uniform, normal):
    numbers = Numbers(monkeypatch, uniform, normal)
    ours = AugmentPipe("bg", 1.0)
    ours.transforms = Transforms(geometry=only(ours.transforms.geometry, GEOMETRY, names))
    with torch.no_grad():
        expected, found = placed(of(official, names)(points())), placed(ours(points(), numbers.draws(1)))
    for what, tolerance in {"mirrored": 0.0, "size": 0.06, "stretch": 0.12, "angle": 0.0}.items():
        assert abs(float(found[what] - expected[what])) <= tolerance, what
    for what in ("shift across", "shift down"):
        assert abs(float(found[what] - expected[what])) <= 1.0, what


def official_matrix(official, monkeypatch, names, uniform, normal):
    """(3, 3): from output to input, in pixels about the point about which the official pipe scales."""
    image = texture()

    def seen(names, normal):
        with monkeypatch.context() as patch:
            Numbers(patch, uniform, normal)
            return sampled(of(official, names), image)

    still = seen(["scale"], 0.0)  # by 2^0
    centre = fixed_point(movement(still, seen(["scale"], 2.0)))
    matrix = about(centre, movement(still, seen(names, normal)))
    matrix[:2, 2] /= 2  # the sampler works at twice the resolution
    return matrix


def compare_matrices_for_given_numbers(official, monkeypatch, names, uniform, normal):
    expected = official_matrix(official, monkeypatch, names, uniform, normal)
    draws = Numbers(monkeypatch, uniform, normal).draws(1)
    close(geometry_matrices(only(GEOMETRIES["bg"], GEOMETRY, names), 1.0, draws, EDGE)[0], expected)


# the tests ------------------------------------------------------------------------------------------------------------

AUGMENTATIONS = [(preset, 1.0) for preset in OPTIONS] + [("geom", 0.5), ("color", 0.5)]


def test_our_pipe_at_rest_is_the_official_one(official):
    theirs = official.augment.AugmentPipe(**{name: 1 for names in OPTIONS.values() for name in names})
    theirs.p.copy_(torch.tensor(0.0))
    close(theirs(points()), points(), atol=0.05)  # it may have been resampled


@pytest.mark.parametrize(("preset", "p"), AUGMENTATIONS)
def test_our_augmentation_is_drawn_like_the_official_one(official, preset, p):
    compare_augmentation(official, preset, p)


COLORS = [[name] for name in COLOR] + [list(COLOR)]
PLACES = [[name] for name in GEOMETRY]
TOGETHER = [list(OPTIONS["blit"]), list(OPTIONS["geom"]), list(GEOMETRY)]


@pytest.mark.parametrize(("uniform", "normal"), GIVEN)
@pytest.mark.parametrize("names", COLORS, ids="+".join)
def test_for_given_numbers_colours_become_the_official_ones(official, monkeypatch, names, uniform, normal):
    compare_colours_for_given_numbers(official, monkeypatch, names, uniform, normal)


@pytest.mark.parametrize(("uniform", "normal"), GIVEN)
@pytest.mark.parametrize("names", PLACES + TOGETHER, ids="+".join)
def test_for_given_numbers_the_matrices_are_the_official_ones(official, monkeypatch, names, uniform, normal):
    compare_matrices_for_given_numbers(official, monkeypatch, names, uniform, normal)


@pytest.mark.parametrize(("uniform", "normal"), GIVEN)
@pytest.mark.parametrize("names", PLACES, ids="+".join)
def test_for_given_numbers_things_go_where_they_officially_go(official, monkeypatch, names, uniform, normal):
    compare_places_for_given_numbers(official, monkeypatch, names, uniform, normal)


# what the comparisons notice, on a stand-in for the checkout ----------------------------------------------------------


@pytest.mark.parametrize("name", augment.AMOUNTS)
def test_another_amount_of_augmentation_is_noticed(monkeypatch, name):
    preset = next(preset for preset, options in OPTIONS.items() if name in options)
    monkeypatch.setitem(augment.AMOUNTS, name, 0.6 * augment.AMOUNTS[name])
    with pytest.raises(AssertionError):
        compare_augmentation(STAND_IN, preset, 1.0)


def test_another_chance_of_augmentation_is_noticed(monkeypatch):
    monkeypatch.setattr(
        augment.AugmentPipe, "happens", lambda self, rng, name, twice=False: rng.random() < float(self.p)
    )
    with pytest.raises(AssertionError):
        compare_augmentation(STAND_IN, "geom", 0.5)


@pytest.mark.parametrize("name", [name for name in augment.AMOUNTS if name in COLOR])
def test_colours_a_thousandth_off_are_noticed(monkeypatch, name):
    monkeypatch.setitem(augment.AMOUNTS, name, 1.001 * augment.AMOUNTS[name])
    with pytest.raises(AssertionError):
        compare_colours_for_given_numbers(STAND_IN, monkeypatch, [name], 0.8, 0.7)


@pytest.mark.parametrize("name", [name for name in augment.AMOUNTS if name in GEOMETRY])
def test_matrices_a_thousandth_off_are_noticed(monkeypatch, name):
    given = 0.9372, 1.2  # whole shifts by 3.498 pixels, of which a thousandth more makes 4
    compare_matrices_for_given_numbers(STAND_IN, monkeypatch, [name], *given)
    monkeypatch.setitem(augment.AMOUNTS, name, 1.001 * augment.AMOUNTS[name])
    with pytest.raises(AssertionError):
        compare_matrices_for_given_numbers(STAND_IN, monkeypatch, [name], *given)


def test_another_order_of_transforms_is_noticed(monkeypatch):
    geometry = augment.AugmentPipe.geometry

    def backwards(self, edge, rng):
        alone = [geometry(augment.AugmentPipe(**{name: 1}), edge, rng) for name in self.multipliers]
        return np.linalg.multi_dot([*alone, np.eye(3)])  # the first is applied last

    monkeypatch.setattr(augment.AugmentPipe, "geometry", backwards)
    compare_matrices_for_given_numbers(STAND_IN, monkeypatch, ["aniso"], 0.3, 0.7)
    with pytest.raises(AssertionError):
        compare_matrices_for_given_numbers(STAND_IN, monkeypatch, list(OPTIONS["geom"]), 0.3, 0.7)


def test_turns_about_another_point_are_noticed(monkeypatch):
    turn = augment.turn
    monkeypatch.setattr(augment, "turn", lambda angle: augment.shift(0.01, 0) @ turn(angle) @ augment.shift(-0.01, 0))
    with pytest.raises(AssertionError):
        compare_matrices_for_given_numbers(STAND_IN, monkeypatch, ["rotate"], 0.3, 0.7)


@pytest.mark.parametrize("name", [name for name in augment.AMOUNTS if name in GEOMETRY])
def test_places_far_off_are_noticed(monkeypatch, name):
    monkeypatch.setitem(augment.AMOUNTS, name, 0.3 * augment.AMOUNTS[name])
    with pytest.raises(AssertionError):
        compare_places_for_given_numbers(STAND_IN, monkeypatch, [name], 0.95, 1.2)
