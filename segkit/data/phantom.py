"""Phantoms: fundus images drawn by code, with an exact vessel map, for tests and the demo.

Two vessel trees, arteries and veins, leave the optic disc along the arcades around the macula. Image and vessel map are
rendered from the same geometry at a multiple of the resolution.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from segkit.core import files, images
from segkit.core.arrays import Bools, Pixels
from segkit.core.classes import Classes
from segkit.core.config import dump_yaml
from segkit.data import drive, vessel_tree
from segkit.data.labels import write_labels
from segkit.data.vessel_tree import Floats, VesselTree

RADIUS = 0.478
"""Radius of the field of view in shorter sides of the image, as in DRIVE (540 of 565 pixels across)."""

# transmission of red, green and blue light by a vessel of full depth
_ARTERY, _VEIN = np.array([0.80, 0.56, 0.68]), np.array([0.66, 0.40, 0.56])


class PhantomSample(NamedTuple):
    """One phantom."""

    image: Pixels
    """(h, w, 3)"""
    vessels: Bools
    """(h, w); True where vessels cover at least half of the pixel."""
    fov: Bools
    """(h, w)"""
    disc: Bools
    """(h, w); optic disc."""

    @property
    def labels(self) -> Pixels:
        """(h, w) indices of `CLASSES`; vessels have priority over the disc."""
        return np.where(self.vessels, 1, np.where(self.disc, 2, 0)).astype(np.uint8)


CLASSES = Classes(kind="multiclass", names=("background", "vessel", "disc"))
"""Classes of a multi-class phantom."""


@dataclass(frozen=True)
class _View:
    """Position of the field of view on the pixels."""

    height: int
    width: int
    radius: float
    centre: Floats
    """x and y in pixels."""

    @property
    def oversampling(self) -> int:
        """Resolution of the canvas for vessels, relative to the pixels."""
        return 4 if self.radius < 800 else 2

    def grid(self) -> tuple[Floats, Floats]:
        """x and y of every pixel's centre, in radii."""
        x = (np.arange(self.width) - self.centre[0]) / self.radius
        y = (np.arange(self.height) - self.centre[1]) / self.radius
        return np.broadcast_to(x, (self.height, self.width)), np.broadcast_to(y[:, None], (self.height, self.width))

    def to_canvas(self, points: Floats) -> Floats:
        """Convert points in radii to coordinates on the fine canvas."""
        return (points * self.radius + self.centre + 0.5) * self.oversampling


@dataclass(frozen=True)
class _Anatomy:
    """Positions in radii of the field of view."""

    disc: Floats
    disc_radius: float
    macula: Floats

    def place(self, along: Floats, above: Floats) -> Floats:
        """Points from coordinates along the line from disc to macula and perpendicular to it."""
        axis = (self.macula - self.disc) / np.hypot(*(self.macula - self.disc))
        up = np.array([axis[1], -axis[0]]) * np.sign(axis[0])
        return np.asarray(self.disc + along[:, None] * axis + above[:, None] * up)


@dataclass(frozen=True)
class _Layer:
    """One rendered tree."""

    fine: Image.Image
    """255 in vessels on the fine canvas, 0 elsewhere."""
    depth: Floats
    """(h, w): share of the pixel that vessels cover, times their darkness, which is 1 for the widest."""
    reflex: Floats
    """(h, w): share of the pixel that the light reflex of wide vessels covers."""


def draw(seed: int, height: int = 584, width: int = 565) -> PhantomSample:
    """Draw the phantom of a seed; the same seed and size give the same pixels.

    Raises:
        ValueError: a side is shorter than 16 pixels.
    """
    if min(height, width) < 16:
        raise ValueError(f"a phantom needs at least 16 pixels per side, not {width}x{height}")
    rng = np.random.default_rng([seed, height, width])
    radius = RADIUS * min(height, width)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    view = _View(height, width, radius, middle + radius * rng.uniform(-0.012, 0.012, 2))
    anatomy = _anatomy(rng)
    # On a small image two trees of minimum width would cover too large a share.
    kinds = ("artery", "vein") if radius >= 90 else ("vein",)
    share = rng.uniform(0.125, 0.158) / len(kinds)
    layers = {kind: _layer(_tree(rng, anatomy, view, kind), view, share) for kind in kinds}
    across, down = view.grid()
    fov = np.hypot(across, down) <= 1
    disc = np.hypot(across - anatomy.disc[0], down - anatomy.disc[1]) <= anatomy.disc_radius
    return PhantomSample(_paint(rng, anatomy, view, layers, fov), _vessels(layers, view) & fov, fov, disc & fov)


def draw_number(set_seed: int, number: int, height: int, width: int) -> PhantomSample:
    """Image `number` of the data set of a seed."""
    return draw(set_seed * 100_003 + number, height, width)


def write_pair(sample: PhantomSample, image: Path, label: Path, classes: Literal["binary", "multiclass"]) -> None:
    """Write the image, and its vessels or its label map of `CLASSES`."""
    images.write_image(image, sample.image)
    write_labels(label, sample.vessels if classes == "binary" else sample.labels, CLASSES)


def write_dataset(
    root: Path,
    num_train: int,
    num_test: int,
    height: int = 584,
    width: int = 565,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    test_labels: bool = True,
) -> None:
    """Draw a data set in DRIVE's folder form, for `segkit.data.drive`; `phantom.json` is written last.

    Args:
        num_train: images numbered from 21, or from the number after the last test image.
        num_test: images numbered from 01.
        seed: of the set; image n does not depend on the numbers of images.
        progress: called with the number of images drawn so far and in total.
        test_labels: whether the test part has vessel maps; the official DRIVE has none.

    Raises:
        FileExistsError: `root` already holds a data set.
        SegkitError: a file cannot be written.
    """
    if any((root / part).exists() for part in drive.PARTS) and not (root / drive.MARKER_NAME).exists():
        raise FileExistsError(f"{root} already holds a data set that is not a phantom; choose another folder")
    for part, name, sample in _samples(num_train, num_test, height, width, seed, progress):
        images.write_image(root / part / "images" / f"{name}_{part}.tif", sample.image)
        images.write_mask(root / part / "mask" / f"{name}_{part}_mask.gif", sample.fov)
        if part == "training" or test_labels:
            images.write_mask(root / part / "1st_manual" / f"{name}_manual1.gif", sample.vessels)
    marker = {"training": num_train, "test": num_test, "height": height, "width": width, "seed": seed}
    files.write_json(root / drive.MARKER_NAME, marker)


def write_multiclass_dataset(
    root: Path,
    num_train: int,
    num_test: int,
    height: int = 584,
    width: int = 565,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw a data set of `CLASSES` in the form that `segkit.data.folder` reads, with the images of `write_dataset`.

    Raises:
        FileExistsError: `root` already holds a data set.
        SegkitError: a file cannot be written.
    """
    if any((root / part).exists() for part in drive.PARTS):
        raise FileExistsError(f"{root} already holds a data set; choose another folder")
    for part, name, sample in _samples(num_train, num_test, height, width, seed, progress):
        folder, file = root / part, f"{name}.png"
        write_pair(sample, folder / "images" / file, folder / "masks" / file, "multiclass")
        images.write_mask(folder / "fov" / file, sample.fov)
    files.write_text(root / "classes.yaml", dump_yaml(CLASSES))


def _samples(
    num_train: int, num_test: int, height: int, width: int, seed: int, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[str, str, PhantomSample]]:
    """Part, name and sample of each image; an image counts as done after the caller has written it."""
    first = max(20, num_test) + 1
    numbers = [("test", n) for n in range(1, num_test + 1)] + [("training", first + n) for n in range(num_train)]
    for done, (part, number) in enumerate(numbers, start=1):
        yield part, f"{number:02d}", draw_number(seed, number, height, width)
        if progress is not None:
            progress(done, len(numbers))


def _anatomy(rng: np.random.Generator) -> _Anatomy:
    side = rng.choice([-1.0, 1.0])
    macula = np.array([side * rng.uniform(-0.06, 0.06), rng.uniform(-0.03, 0.09)])
    disc = np.array([side * rng.uniform(0.74, 0.86), macula[1] - rng.uniform(0.04, 0.16)])
    return _Anatomy(disc, rng.uniform(0.125, 0.155), macula)


def _tree(rng: np.random.Generator, anatomy: _Anatomy, view: _View, kind: str) -> VesselTree:
    """Trunks along the arcades and to the nasal side, then branches into the empty retina."""
    inner = 0.86 if kind == "artery" else 1.0
    trunks = []
    root = anatomy.disc + rng.normal(0, 0.015, 2)
    for up in (1, -1):
        arcade = np.array([[0, 0], [0.12, 0.42], [0.50, 0.74], [1.62, 0.52]]) + rng.normal(0, 0.08, (4, 2))
        nasal = np.array([[0, 0], [0.03, 0.22], [-0.12, 0.45], [-0.28, 0.85]]) + rng.normal(0, 0.06, (4, 2))
        for controls, size in ((arcade, inner), (nasal, 1.0)):
            curve = anatomy.place(controls[:, 0], up * size * controls[:, 1])
            curve[0] = root
            trunks.append(vessel_tree.resample(vessel_tree.add_waves(rng, vessel_tree.bezier(curve, 120), 0.030)))
    finest = max(0.062, 9 / view.radius)
    spacings = [spacing for spacing in (0.40, 0.30, 0.22, 0.16, 0.12, 0.09, 0.075) if spacing > finest] + [finest]
    tree = vessel_tree.grow(rng, trunks, spacings, trials=70, avascular=(anatomy.macula, 0.12))
    return vessel_tree.prune(tree, np.hypot(*tree.points.T) < 1.03)


def _layer(tree: VesselTree, view: _View, share: float) -> _Layer:
    """Draw a tree as capsules on a fine canvas, thin ones first, and average to pixels."""
    oversampling = view.oversampling
    thickest = max(8.5 * view.radius / 270, 2.2)
    width = vessel_tree.widths(tree, share * np.pi, 1.35 / view.radius, thickest / view.radius) * view.radius
    size = (view.width * oversampling, view.height * oversampling)
    depth_canvas, reflex_canvas = Image.new("L", size), Image.new("L", size)
    depth_pen, reflex_pen = ImageDraw.Draw(depth_canvas), ImageDraw.Draw(reflex_canvas)
    points = view.to_canvas(tree.points)
    edges = tree.edges
    for start, end in edges[np.argsort(width[edges[:, 1]], kind="stable")]:
        shade = round(255 * min(1.0, 0.30 + 0.75 * width[end] / thickest))
        _capsule(depth_pen, points[start], points[end], width[end] * oversampling, shade)
        if width[end] > 0.5 * thickest and thickest > 4:
            _capsule(reflex_pen, points[start], points[end], 0.28 * width[end] * oversampling, 255)
    solid = depth_canvas.point([0] + [255] * 255)
    return _Layer(solid, *(np.asarray(canvas.reduce(oversampling)) / 255 for canvas in (depth_canvas, reflex_canvas)))


def _vessels(layers: dict[str, _Layer], view: _View) -> Bools:
    """(h, w): pixels that the trees together cover at least half."""
    fine, *others = (layer.fine for layer in layers.values())
    for other in others:
        fine = ImageChops.lighter(fine, other)
    return np.asarray(fine.reduce(view.oversampling)) >= 127  # half of 255, rounded either way


def _capsule(pen: ImageDraw.ImageDraw, start: Floats, end: Floats, width: float, shade: int) -> None:
    pen.line([*start, *end], fill=shade, width=max(1, round(width)))
    for x, y in (start, end):
        pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=shade)


def _paint(rng: np.random.Generator, anatomy: _Anatomy, view: _View, layers: dict[str, _Layer], fov: Bools) -> Pixels:
    """The image: retina, macula, disc and vessels under uneven light, with blur and camera noise."""
    from scipy import ndimage

    across, down = view.grid()
    scale = view.radius / 270
    retina = _retina(rng, view, across, down)
    from_macula = np.hypot(across - anatomy.macula[0], down - anatomy.macula[1])
    shadow = np.exp(-0.5 * (from_macula / 0.16) ** 2) + 0.5 * np.exp(-0.5 * (from_macula / 0.05) ** 2)
    retina *= 1 - shadow[..., None] * np.array([0.13, 0.22, 0.20]) * rng.uniform(0.7, 1.3)
    retina = _with_disc(rng, retina, anatomy, across, down, scale)

    for kind, layer in layers.items():
        depth = ndimage.gaussian_filter(layer.depth, 0.45 * max(scale, 0.5))
        # bright nerve fibres beside large vessels
        sheen = ndimage.gaussian_filter(layer.depth, 9 * scale)
        retina *= 1 + 0.10 * sheen[..., None]
        transmission = _ARTERY if kind == "artery" else _VEIN
        retina *= transmission ** (depth[..., None] * rng.uniform(0.9, 1.1))
        streak = ndimage.gaussian_filter(layer.reflex, 0.6 * scale)
        retina *= 1 + (0.22 if kind == "artery" else 0.08) * streak[..., None]

    dark = np.array([0.031, 0.026, 0.027])
    photograph = np.where(fov[..., None], retina, dark)
    photograph = ndimage.gaussian_filter(photograph, (*(0.55 * max(scale, 0.6),) * 2, 0))
    grain = ndimage.gaussian_filter(rng.normal(0, 1, photograph.shape), (0.5, 0.5, 0))
    photograph += grain * np.where(fov, 0.020, 0.004)[..., None]
    return images.from_unit(photograph)


def _retina(rng: np.random.Generator, view: _View, across: Floats, down: Floats) -> Floats:
    """Pigment and choroid under uneven light, (h, w, 3) in about [0, 1]."""
    red = rng.uniform(0.62, 0.92)
    pigment = red * np.array([1, rng.uniform(0.46, 0.58), rng.uniform(0.26, 0.38)])
    distance = np.hypot(across, down)
    angle = rng.uniform(0, 2 * np.pi)
    slope = across * np.cos(angle) + down * np.sin(angle)
    light = 1 - rng.uniform(0.10, 0.26) * distance**2 + rng.uniform(0.02, 0.10) * slope
    light += 0.05 * _noise(rng, view, 3)
    retina = pigment * light[..., None]
    # the colour changes from orange to olive towards the rim
    olive = np.clip((distance - 0.35) / 0.65, 0, 1) ** 1.5 * (0.6 + 0.4 * slope)
    retina *= 1 + olive[..., None] * np.array([-0.16, 0.06, 0.12]) * rng.uniform(0.5, 1.4)
    mottle = 0.035 * _noise(rng, view, 9) + 0.030 * _noise(rng, view, 26) + 0.020 * _noise(rng, view, 70)
    return np.asarray(retina * (1 + mottle[..., None] * np.array([0.6, 1.1, 1.0])))


def _with_disc(
    rng: np.random.Generator, retina: Floats, anatomy: _Anatomy, across: Floats, down: Floats, scale: float
) -> Floats:
    """Add the bright optic disc with its cup and a faint halo."""
    distance = np.hypot((across - anatomy.disc[0]) * 1.08, down - anatomy.disc[1]) / anatomy.disc_radius
    halo = np.exp(-np.maximum(distance - 1, 0) / 0.6)
    retina = retina * (1 + 0.12 * halo[..., None])
    rim = 1 / (1 + np.exp((distance - 1) / 0.055))
    cup = np.exp(-0.5 * (distance / rng.uniform(0.35, 0.5)) ** 2)
    colour = np.array([0.97, 0.76, 0.44]) * rng.uniform(0.92, 1.02) + cup[..., None] * np.array([0.05, 0.17, 0.26])
    opacity = (rng.uniform(0.72, 0.9) * rim)[..., None]
    return np.asarray(retina * (1 - opacity) + colour * opacity)


def _noise(rng: np.random.Generator, view: _View, cells: int) -> Floats:
    """Smooth noise (h, w) of about unit variance, interpolated from `cells` x `cells` values."""
    coarse = Image.fromarray(rng.normal(0, 1, (cells + 2, cells + 2)).astype(np.float32))
    inner = (1, 1, cells + 1, cells + 1)
    return np.asarray(coarse.resize((view.width, view.height), Image.Resampling.BICUBIC, box=inner), dtype=np.float64)
