"""Our networks and augmentation against a checkout of NVlabs/stylegan2-ada-pytorch, where the user has one.

It lies at `third_party/stylegan2-ada-pytorch`, or where SEGKIT_STYLEGAN2_ADA points; otherwise these tests are skipped.
Of it only what a user of the program sees is used: the networks' constructors with the options that it prints, calling
them, their tensors' names, and `AugmentPipe(**options)(images)`.

Compared to 1e-4, with the same tensors on both sides: mapping, truncation with psi and cutoff, synthesis, the whole
generator, the discriminator's logits, and one step of Adam on the generator's loss, on its path-length penalty and
on the discriminator's loss with R1; and, for given numbers, which `torch.rand` and `torch.randn` then answer both
pipes with, what the matrix of each colour transform, and of all together, makes of colours. Compared more loosely:
where each geometric transform moves things for given numbers; and as distributions, where all of them move things
and which colours, noise and holes there are.

Not compared: noise drawn at random; the official training loop. On purpose we differ from it in three things: the
target of the path lengths is their running mean before the step (here it is handed in), `w_avg` moves once per
iteration by the mean over all processes (here it is only copied), and the shift that the asymmetric sym6 filter
brings is taken back at the filter's exact centre, so that an augmented image may lie a fraction of a pixel beside
the official one (positions are compared to one pixel).
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import ks_2samp

from gan.augment import AugmentPipe, draw
from gan.augment.color import Color
from gan.augment.draws import Column
from gan.augment.geometry import Geometry
from gan.discriminator import Discriminator
from gan.generator import Generator
from gan.settings import GanSettings
from tests.reference import gan_training as paper
from tests.reference.stylegan2_ada_standin.training import augment, networks

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "SEGKIT_STYLEGAN2_ADA"

# the official code warns of its age in several ways
pytestmark = pytest.mark.filterwarnings("ignore")

Z_DIM, W_DIM, EDGE, NUM_IMAGES = 16, 24, 32, 8
SIZES = {"channel_base": 512, "channel_max": 24}
SETTINGS = GanSettings(
    resolution=EDGE, batch_size=NUM_IMAGES, mbstd_group_size=4, z_dim=Z_DIM, w_dim=W_DIM, num_mapping_layers=3, **SIZES
)


def modules_of(checkout):
    """The official modules `training.networks` and `training.augment` of a checkout."""
    sys.path.insert(0, str(checkout))
    try:
        names = ("networks", "augment")
        return SimpleNamespace(**{name: importlib.import_module(f"training.{name}") for name in names})
    finally:
        sys.path.remove(str(checkout))


@pytest.fixture(scope="module")
def official():
    checkout = Path(os.environ.get(VARIABLE, ROOT / "third_party" / "stylegan2-ada-pytorch"))
    if not (checkout / "training" / "networks.py").is_file():
        if VARIABLE in os.environ:
            pytest.fail(f"{VARIABLE} = {checkout} is no checkout of stylegan2-ada-pytorch: no training/networks.py")
        pytest.skip(f"no checkout of NVlabs/stylegan2-ada-pytorch at {checkout}; set {VARIABLE}")
    return modules_of(checkout)


# both sides with the same tensors ------------------------------------------------------------------------------------


def rng(seed):
    return torch.Generator().manual_seed(seed)


def randomise(network, seed):
    """Give everything that starts at a constant another value: biases, noise strengths, the mean of w."""
    generator = rng(seed)
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith(("bias", "noise_strength", "w_avg")):
                size = 30.0 if name.startswith("mapping.fc") else 0.3  # its layers learn, and show, a hundredth
                tensor += size * torch.randn(tensor.shape, generator=generator)


def generators(official):
    """The official generator and ours, with its tensors."""
    torch.manual_seed(1)
    theirs = official.networks.Generator(
        z_dim=Z_DIM,
        c_dim=0,
        w_dim=W_DIM,
        img_resolution=EDGE,
        img_channels=3,
        mapping_kwargs={"num_layers": 3},
        synthesis_kwargs=SIZES | {"num_fp16_res": 0, "conv_clamp": 256},
    )
    randomise(theirs, seed=2)
    ours = Generator(SETTINGS)
    ours.load_state_dict(theirs.state_dict())
    return theirs.eval().requires_grad_(True), ours


def discriminators(official):
    """The official discriminator and ours, with its tensors."""
    torch.manual_seed(3)
    theirs = official.networks.Discriminator(
        c_dim=0,
        img_resolution=EDGE,
        img_channels=3,
        num_fp16_res=0,
        conv_clamp=256,
        epilogue_kwargs={"mbstd_group_size": 4},
        **SIZES,
    )
    randomise(theirs, seed=4)
    ours = Discriminator(SETTINGS)
    ours.load_state_dict(theirs.state_dict())
    return theirs.eval().requires_grad_(True), ours


def close(ours, theirs, atol=1e-4):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


def latents(seed=5):
    return torch.randn(NUM_IMAGES, Z_DIM, generator=rng(seed))


def smooth_images(seed=6):
    noise = torch.randn(NUM_IMAGES, 3, EDGE, EDGE, generator=rng(seed))
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1)


NO_LABELS = torch.zeros(NUM_IMAGES, 0)
TRUNCATIONS = ((1.0, None), (0.7, None), (0.5, 4), (0.0, None), (-0.7, 1))


def compare_mapping(official):
    theirs, ours = generators(official)
    with torch.no_grad():
        for psi, cutoff in TRUNCATIONS:
            expected = theirs.mapping(latents(), NO_LABELS, truncation_psi=psi, truncation_cutoff=cutoff)
            close(ours.mapping(latents(), psi, cutoff), expected)


def compare_synthesis(official):
    theirs, ours = generators(official)
    ws = torch.randn(NUM_IMAGES, ours.num_ws, W_DIM, generator=rng(7))
    with torch.no_grad():
        for noise_mode in ("const", "none"):
            expected = theirs.synthesis(ws, noise_mode=noise_mode)
            assert expected.std() > 0.1
            close(ours.synthesis(ws, noise_mode), expected)


def compare_generator(official):
    theirs, ours = generators(official)
    with torch.no_grad():
        for psi, cutoff in TRUNCATIONS:
            expected = theirs(latents(), NO_LABELS, truncation_psi=psi, truncation_cutoff=cutoff, noise_mode="const")
            close(ours(latents(), psi, cutoff, "const"), expected)


def compare_discriminator(official):
    theirs, ours = discriminators(official)
    with torch.no_grad():
        close(ours(smooth_images()), theirs(smooth_images(), NO_LABELS))
        assert theirs(smooth_images(), NO_LABELS).std() > 0.01


# one step of Adam, the losses written from the papers ----------------------------------------------------------------


def steps(network, loss):
    """How far each parameter moves, by name.

    The optimiser is in the middle of a training, as its very first step goes by the signs of the gradient alone.
    """
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    adam = paper.Adam(network.parameters(), learning_rate=0.0025, interval=4)
    adam.square = [torch.full_like(square, 1e-4) for square in adam.square]
    adam.count = [100] * len(adam.count)
    adam.step(loss)
    return {name: parameter.detach() - before[name] for name, parameter in network.named_parameters()}


def same_steps(ours, theirs):
    """To 1e-4, and each parameter's to a thousandth of its own greatest step."""
    assert ours.keys() == theirs.keys()
    assert max(step.abs().max() for step in theirs.values()) > 1e-3
    for name, step in theirs.items():
        close(ours[name], step)
        assert (ours[name] - step).abs().max() <= 1e-3 * step.abs().max() + 1e-7, name


def compare_generator_step(official):
    (their_g, our_g), (their_d, our_d) = generators(official), discriminators(official)
    fake = their_g.synthesis(their_g.mapping(latents(), NO_LABELS), noise_mode="const")
    theirs = steps(their_g, paper.loss_of_generator(their_d(fake, NO_LABELS)))
    same_steps(steps(our_g, paper.loss_of_generator(our_d(our_g(latents(), 1.0, None, "const")))), theirs)


def compare_path_length_step(official):
    their_g, our_g = generators(official)
    noise = torch.randn(NUM_IMAGES, 3, EDGE, EDGE, generator=rng(8))

    def penalty(ws, synthesise):
        lengths = paper.lengths_of_paths(synthesise, ws, noise)
        return ((lengths - 0.1) ** 2).mean()  # towards a mean that is handed in

    their_ws, our_ws = their_g.mapping(latents(), NO_LABELS), our_g.mapping(latents())
    theirs = steps(their_g, penalty(their_ws, lambda ws: their_g.synthesis(ws, noise_mode="const")))
    same_steps(steps(our_g, penalty(our_ws, lambda ws: our_g.synthesis(ws, "const"))), theirs)


def compare_discriminator_step(official):
    theirs, ours = discriminators(official)
    real, fake = smooth_images(9), smooth_images(10)

    def loss(discriminate):
        main = paper.loss_of_discriminator(discriminate(real), discriminate(fake))
        return main + paper.r1_penalty(discriminate, real, gamma=10.0)

    expected = steps(theirs, loss(lambda image: theirs(image, NO_LABELS)))
    same_steps(steps(ours, loss(ours)), expected)


# augmentation, as distributions ---------------------------------------------------------------------------------------

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


def points():
    """(1, 3, r, r): a soft dot in each channel, left, right and below of the centre."""
    at = torch.arange(EDGE) - (EDGE - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    dots = [torch.exp(-((x - dx) ** 2 + (y - dy) ** 2) / 8) for dx, dy in ((-4, -2), (4, -2), (0, 4))]
    return torch.stack(dots)[None]


def placed(images):
    """What of the matrix that moved `points` shows in where the dots have gone."""
    at = torch.arange(EDGE, dtype=torch.float64) - (EDGE - 1) / 2
    weights = images.double().clamp(min=0.05) - 0.05
    mass = weights.sum(dim=(2, 3)).clamp(min=1e-3)
    x, y = (weights * at).sum(dim=(2, 3)) / mass, (weights * at[:, None]).sum(dim=(2, 3)) / mass
    right, down = (torch.stack([x[:, i] - x[:, 0], y[:, i] - y[:, 0]], dim=1) for i in (1, 2))
    columns = right / 8, (down - right / 2) / 6
    matrix = torch.stack(columns, dim=2)
    area, stretch = torch.linalg.det(matrix), torch.linalg.svdvals(matrix).log2()
    return {
        "mirrored": area.sign(),
        "size": rounded(stretch.mean(dim=1), 0.05),
        "stretch": rounded(stretch[:, 0] - stretch[:, 1], 0.1),
        "angle": rounded(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]) / (torch.pi / 8), 1.0) % 16,
        "shift across": rounded(x.mean(dim=1), 1.0),
        "shift down": rounded(y.mean(dim=1), 1.0),
    }


def patches():
    """(1, 3, r, r): black, which in [-1, 1] is 0 here, and three colours, one in each quarter."""
    colours = torch.tensor([[0.0, 0.0, 0.0], [0.2, -0.1, 0.4], [0.5, 0.3, -0.2], [-0.4, 0.2, 0.1]])
    return colours.t().reshape(1, 3, 2, 2).repeat_interleave(EDGE // 2, 2).repeat_interleave(EDGE // 2, 3)


def quarters(images):
    """(n, 3, 4): the colour of each quarter."""
    half = EDGE // 2
    return images.double().reshape(len(images), 3, 2, half, 2, half).mean(dim=(3, 5)).flatten(2)


def coloured(images):
    """What the matrix has done to grey, to light and dark, and to the colours beside them."""
    found, shown = quarters(images), quarters(patches())
    matrix = (found[:, :, 1:] - found[:, :, :1]) @ torch.linalg.inv(shown[0, :, 1:])
    grey = torch.ones(3, dtype=torch.float64) / 3**0.5
    luma = matrix @ grey @ grey
    across = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64) / 2**0.5
    beside = torch.linalg.cross(grey, across)
    chroma = torch.stack([matrix @ across @ across, matrix @ across @ beside], dim=1)
    return {
        "brightness": rounded(found[:, :, 0].mean(dim=1) / luma, 0.05),
        "contrast": rounded(luma.abs().log2(), 0.1),
        "negative": luma.sign(),
        "hue": rounded(torch.atan2(chroma[:, 1], chroma[:, 0]) / (torch.pi / 8), 1.0) % 16,
        "saturation": rounded((chroma.norm(dim=1) / luma.abs()).log2(), 0.1),
        "leak": rounded((matrix @ grey - luma[:, None] * grey).norm(dim=1), 0.01),
    }


def texture():
    """(1, 3, r, r): white noise, in which there are all frequencies."""
    return torch.randn(1, 3, EDGE, EDGE, generator=rng(13))


def filtered(images):
    """Detail of several sizes, in octaves."""
    seen = {"all": images}
    for factor in (2, 4, 8):
        coarse = torch.nn.functional.avg_pool2d(images, factor)
        seen[f"of {factor} pixels"] = coarse
        seen[f"below {factor} pixels"] = images - torch.nn.functional.interpolate(coarse, scale_factor=factor)
    return {name: rounded(part.double().std(dim=(1, 2, 3)).log2(), 0.1) for name, part in seen.items()}


def grey_level():
    return torch.full([1, 3, EDGE, EDGE], 0.5)


def speckled(images):
    return {
        "deviation": rounded(images.double().std(dim=(1, 2, 3)), 0.01),
        "of neighbours": rounded((images[..., 1:] - images[..., :-1]).double().std(dim=(1, 2, 3)), 0.01),
        "mean": rounded(images.double().mean(dim=(1, 2, 3)), 0.01),
    }


def holed(images):
    hole = (images.abs() < 1e-3).all(dim=1).double()
    return {
        "area": rounded(hole.mean(dim=(1, 2)), 0.02),
        "across": rounded(hole.amax(dim=1).mean(dim=1), 0.06),
        "down": rounded(hole.amax(dim=2).mean(dim=1), 0.06),
    }


def rounded(values, step):
    """So that the same number from two ways of computing it is one number."""
    return (values / step).round() * step


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


def augmented(official, names, preset, image, numbers):
    """By both pipes, for the same numbers."""
    theirs = official.augment.AugmentPipe(**dict.fromkeys(names, 1))
    ours = AugmentPipe(preset, 1.0)
    only = {"blit": BLIT, "geom": GEOM}.get(preset)
    if only is not None:
        kept = {field: getattr(ours.transforms.geometry, field) for name in names for field in only[name]}
        ours.transforms = ours.transforms._replace(geometry=Geometry(**kept))
    else:
        kept = {COLOR[name]: getattr(ours.transforms.color, COLOR[name]) for name in names}
        ours.transforms = ours.transforms._replace(color=Color(**kept))
    with torch.no_grad():
        return theirs(image), ours(image, numbers.draws(len(image)))


BLIT = {"xflip": ["x_flip"], "rotate90": ["quarter_turns"], "xint": ["whole_shift"]}
GEOM = {"scale": ["scale_std"], "rotate": ["turn"], "aniso": ["stretch_std"], "xfrac": ["shift_std"]}
COLOR = {
    "brightness": "brightness_std",
    "contrast": "contrast_std",
    "lumaflip": "luma_flip",
    "hue": "hue",
    "saturation": "saturation_std",
}
GIVEN = [(0.3, 0.7), (0.8, -0.4)]


def compare_colours_for_given_numbers(official, monkeypatch, names, uniform, normal):
    image = patches()
    theirs, ours = augmented(official, names, "color", image, Numbers(monkeypatch, uniform, normal))
    close(ours, theirs)


def compare_places_for_given_numbers(official, monkeypatch, preset, name, uniform, normal):
    image = points()
    theirs, ours = augmented(official, [name], preset, image, Numbers(monkeypatch, uniform, normal))
    expected, found = placed(theirs), placed(ours)
    for what, tolerance in {"mirrored": 0.0, "size": 0.06, "stretch": 0.12, "angle": 0.0}.items():
        assert abs(float(found[what] - expected[what])) <= tolerance, what
    for what in ("shift across", "shift down"):
        assert abs(float(found[what] - expected[what])) <= 1.0, what


def compare_no_augmentation(official):
    theirs = official.augment.AugmentPipe(**{name: 1 for names in OPTIONS.values() for name in names})
    theirs.p.copy_(torch.tensor(0.0))
    close(theirs(points()), points(), atol=0.05)  # it may have been resampled


# the tests ------------------------------------------------------------------------------------------------------------

COMPARISONS = (
    compare_mapping,
    compare_synthesis,
    compare_generator,
    compare_discriminator,
    compare_generator_step,
    compare_path_length_step,
    compare_discriminator_step,
    compare_no_augmentation,
)
AUGMENTATIONS = [(preset, 1.0) for preset in OPTIONS] + [("geom", 0.5), ("color", 0.5)]


@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda compare: compare.__name__.removeprefix("compare_"))
def test_our_networks_are_the_official_ones(official, compare):
    compare(official)


@pytest.mark.parametrize(("preset", "p"), AUGMENTATIONS)
def test_our_augmentation_is_drawn_like_the_official_one(official, preset, p):
    compare_augmentation(official, preset, p)


ALONE = [[name] for name in COLOR] + [list(COLOR)]
PLACES = [("blit", name) for name in BLIT] + [("geom", name) for name in GEOM]


@pytest.mark.parametrize(("uniform", "normal"), GIVEN)
@pytest.mark.parametrize("names", ALONE, ids="+".join)
def test_for_given_numbers_colours_become_the_official_ones(official, monkeypatch, names, uniform, normal):
    compare_colours_for_given_numbers(official, monkeypatch, names, uniform, normal)


@pytest.mark.parametrize(("uniform", "normal"), GIVEN)
@pytest.mark.parametrize(("preset", "name"), PLACES)
def test_for_given_numbers_things_go_where_they_officially_go(official, monkeypatch, preset, name, uniform, normal):
    compare_places_for_given_numbers(official, monkeypatch, preset, name, uniform, normal)


# what the comparisons notice, on a stand-in for the checkout ----------------------------------------------------------

STAND_IN = SimpleNamespace(networks=networks, augment=augment)


@pytest.mark.slow
def test_a_checkout_named_by_the_variable_is_compared():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "official"]
    environment = os.environ | {VARIABLE: str(ROOT / "tests" / "reference" / "stylegan2_ada_standin")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    num_tests = len(COMPARISONS) + len(AUGMENTATIONS) + len(GIVEN) * (len(ALONE) + len(PLACES))
    assert done.stdout.splitlines()[-1].startswith(f"{num_tests} passed, "), done.stdout


def after(built, change):
    """A constructor whose networks are changed once they are built."""

    def build(*args, **kwargs):
        network = built(*args, **kwargs)
        change(network)
        return network

    return build


def scale_gain(path, name="weight_gain", factor=1.01):
    def change(network):
        layer = network.get_submodule(path)
        setattr(layer, name, getattr(layer, name) * factor)

    return change


GENERATOR, MAPPING = {"synthesis", "generator", "generator_step", "path_length_step"}, {"mapping", "generator"}


@pytest.mark.parametrize(
    ("network", "path", "gain", "noticed"),
    [
        ("Generator", "synthesis.b16.conv0.affine", "weight_gain", GENERATOR),
        ("Generator", "synthesis.b32.torgb", "weight_gain", GENERATOR),
        ("Generator", "mapping.fc1", "bias_gain", MAPPING | {"generator_step", "path_length_step"}),
        ("Discriminator", "b16.skip", "weight_gain", {"discriminator", "discriminator_step", "generator_step"}),
        ("Discriminator", "b4.fc", "bias_gain", {"discriminator", "discriminator_step", "generator_step"}),
    ],
)
def test_a_wrong_gain_of_one_layer_is_noticed(monkeypatch, network, path, gain, noticed):
    monkeypatch.setattr(networks, network, after(getattr(networks, network), scale_gain(path, gain)))
    assert failing() == noticed


def failing():
    """Comparisons of networks that do not hold."""
    failed = set()
    for compare in COMPARISONS:
        try:
            compare(STAND_IN)
        except AssertionError:
            failed.add(compare.__name__.removeprefix("compare_"))
    return failed


def test_truncation_of_other_layers_is_noticed(monkeypatch):
    forward = networks.MappingNetwork.forward

    def of_all_layers(self, z, c, truncation_psi=1, truncation_cutoff=None):
        return forward(self, z, c, truncation_psi)

    monkeypatch.setattr(networks.MappingNetwork, "forward", of_all_layers)
    assert failing() == MAPPING


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


@pytest.mark.parametrize(("preset", "name"), [place for place in PLACES if place[1] in augment.AMOUNTS])
def test_places_far_off_are_noticed(monkeypatch, preset, name):
    monkeypatch.setitem(augment.AMOUNTS, name, 0.3 * augment.AMOUNTS[name])
    with pytest.raises(AssertionError):
        compare_places_for_given_numbers(STAND_IN, monkeypatch, preset, name, 0.95, 1.2)
