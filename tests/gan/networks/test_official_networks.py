"""Both networks against numbers of the official code, on the fast and on the straightforward path.

In double precision: fp32 can round an activation, here one of -4e-9, to the other side of zero, where gradients jump.
"""

import pytest
import torch

from gan.bench.reference import REFERENCE_LAYERS
from gan.networks.layers import FAST_LAYERS
from gan.training.losses import discriminator_loss, generator_loss, gradient_penalty, path_length_penalty, path_lengths
from gan.training.task import StyleGAN2Task
from tests.gan.official_numbers import TRUNCATIONS, below, networks, numbers, read_settings, write_snapshot

N = {key: value.double() for key, value in numbers("networks").items()}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return read_settings(tmp_path_factory.mktemp("official") / "official.pkl")


@pytest.fixture(params=[FAST_LAYERS, REFERENCE_LAYERS], ids=["fast", "straightforward"])
def pair(request, settings):
    return tuple(network.double() for network in networks(settings, request.param))


def close(found, expected):
    """To 1e-4, and where all numbers are smaller than 1 to 1e-4 of the largest."""
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4 * min(1.0, float(expected.abs().max())))


def same_gradients(network, loss, phase):
    """Each parameter's gradient, to 1e-4 of the phase's largest entry; the official one is zero where there is none."""
    expected = {name: value.double() for name, value in below(phase).items()}
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    assert expected.keys() <= parameters.keys()
    largest = max(value.abs().max() for value in expected.values())
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        found = torch.zeros_like(parameter) if gradient is None else gradient
        wanted = expected.get(name, torch.zeros_like(parameter))
        assert (found - wanted).abs().max() <= 1e-4 * largest, name


@pytest.mark.parametrize("k", range(len(TRUNCATIONS)))
def test_mapping_truncation_and_images_are_the_official_ones(pair, k):
    generator, _ = pair
    psi, cutoff = TRUNCATIONS[k]
    with torch.no_grad():
        close(generator.mapping(N["z"], psi, cutoff), N[f"mapping{k}"])
        close(generator(N["z"], psi, cutoff, "const"), N[f"image{k}"])


@pytest.mark.parametrize("noise_mode", ["const", "none"])
def test_synthesis_is_the_official_one(pair, noise_mode):
    with torch.no_grad():
        close(pair[0].synthesis(N["ws"], noise_mode), N[f"synthesis_{noise_mode}"])


def test_logits_are_the_official_ones(pair):
    generator, discriminator = pair
    with torch.no_grad():
        close(discriminator(N["real"]), N["logits_real"])
        close(discriminator(generator(N["z"], noise_mode="const")), N["logits_fake"])


def test_gradients_of_the_generator_s_loss_are_the_official_ones(pair):
    generator, discriminator = pair
    loss = generator_loss(discriminator(generator(N["z"], noise_mode="const")))
    same_gradients(generator, loss, "Gmain")


def test_path_lengths_and_their_gradients_are_the_official_ones(pair):
    generator, _ = pair
    ws = generator.mapping(N["z"][:4])
    lengths = path_lengths(generator.synthesis(ws, "const"), ws, N["path_noise"])
    close(lengths, N["path_lengths"])
    same_gradients(generator, path_length_penalty(lengths, torch.tensor(0.1).double()), "Greg_towards_0.1")


def test_gradients_of_the_discriminator_s_loss_are_the_official_ones(pair):
    generator, discriminator = pair
    with torch.no_grad():
        fake = generator(N["z"], noise_mode="const")
    loss = discriminator_loss(discriminator(N["real"]), discriminator(fake))
    same_gradients(discriminator, loss, "Dmain")


def test_r1_and_its_gradients_are_the_official_ones(pair):
    _, discriminator = pair
    images = N["real"].clone().requires_grad_()
    penalties = gradient_penalty(discriminator(images), images)
    close(penalties, N["r1"])
    same_gradients(discriminator, 5 * penalties.mean(), "Dreg_gamma_10")


def test_a_training_that_starts_from_the_official_file_starts_at_the_official_logits(settings, tmp_path):
    path = tmp_path / "official.pkl"
    write_snapshot(path)
    task = StyleGAN2Task(settings.model_copy(update={"init_from": path}))
    task.on_fit_start()
    with torch.no_grad():
        close(task.discriminator(N["real"].float()), N["logits_real"])
        for generator in (task.generator, task.generator_ema):
            close(task.discriminator(generator(N["z"], noise_mode="const")), N["logits_fake"])
