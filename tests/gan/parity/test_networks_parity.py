"""Our networks against the official ones: to 1e-4, with the same tensors on both sides.

Compared are mapping, truncation with psi and cutoff, synthesis, the whole generator, the discriminator's logits, and
one step of Adam on the generator's loss, on its path-length penalty and on the discriminator's loss with R1.
"""

import pytest
import torch

from gan.discriminator import Discriminator
from gan.generator import Generator
from gan.settings import GanSettings
from tests.gan.augment_draws import rng
from tests.gan.parity.checkout import STAND_IN, close
from tests.reference import gan_training as paper
from tests.reference.stylegan2_ada_standin.training import networks

# the official code warns of its age in several ways
pytestmark = pytest.mark.filterwarnings("ignore")

Z_DIM, W_DIM, EDGE, NUM_IMAGES = 16, 24, 32, 8
SIZES = {"channel_base": 512, "channel_max": 24}
SETTINGS = GanSettings(
    resolution=EDGE, batch_size=NUM_IMAGES, mbstd_group_size=4, z_dim=Z_DIM, w_dim=W_DIM, num_mapping_layers=3, **SIZES
)


# both sides with the same tensors ------------------------------------------------------------------------------------


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


# the tests ------------------------------------------------------------------------------------------------------------

COMPARISONS = (
    compare_mapping,
    compare_synthesis,
    compare_generator,
    compare_discriminator,
    compare_generator_step,
    compare_path_length_step,
    compare_discriminator_step,
)


@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda compare: compare.__name__.removeprefix("compare_"))
def test_our_networks_are_the_official_ones(official, compare):
    compare(official)


# what the comparisons notice, on a stand-in for the checkout ----------------------------------------------------------


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
