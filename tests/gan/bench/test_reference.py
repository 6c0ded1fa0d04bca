"""The networks built step by step against those that train: two implementations, one function."""

import numpy as np
import pytest
import torch

from gan.bench.reference import REFERENCE_LAYERS, ReferenceTask, upfirdn2d
from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator, SynthesisNetwork
from gan.training.losses import gradient_penalty, path_length_penalty, path_lengths
from gan.training.task import StyleGAN2Task
from tests.gan.small_networks import tiny
from tests.reference import gan_numpy as reference

EXACT = {"rtol": 1e-9, "atol": 1e-10}


def pair(kind, settings):
    """A network in both forms, with the same numbers, none of which is at its initial value; in double precision."""
    torch.manual_seed(0)
    fast, plain = kind(settings).double(), kind(settings, REFERENCE_LAYERS).double()
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    plain.load_state_dict(fast.state_dict())
    return fast, plain


def gradients(network, loss):
    """By every parameter, and by nothing else."""
    return torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)


def assert_alike(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("down", [1, 2])
def test_resampling_agrees_with_loops(up, down):
    taps = np.array([1.0, 2.0, 4.0, 1.0])  # not symmetric: a correlation would give something else
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6))
    found = upfirdn2d(torch.from_numpy(x), torch.from_numpy(np.outer(taps, taps)), up, down, (2, 1))
    np.testing.assert_allclose(found, reference.upfirdn(x, taps, up, down, (2, 1)), atol=1e-12)


@pytest.mark.parametrize("noise_kind", ["none", "const", "per image"])
def test_generators_draw_the_same_image_and_learn_the_same(noise_kind):
    fast, plain = pair(Generator, tiny())
    z, target = torch.randn(3, 8).double(), torch.randn(3, 3, 16, 16).double()
    per_image = torch.randn(3, sum(fast.synthesis.noise_sizes)).double()
    noise = per_image if noise_kind == "per image" else noise_kind
    images = [network.synthesis(network.mapping(z), noise) for network in (fast, plain)]
    torch.testing.assert_close(*images, **EXACT)
    losses = [(image * target).sum() for image in images]
    assert_alike(gradients(fast, losses[0]), gradients(plain, losses[1]))


@pytest.mark.parametrize("changes", [{}, {"d_architecture": "orig"}, {"image_channels": 1, "conv_clamp": 0.7}])
def test_discriminators_judge_alike_and_learn_the_same(changes):
    fast, plain = pair(Discriminator, tiny(**changes))
    images = torch.randn(4, fast.b16.fromrgb.weight.shape[1], 16, 16).double()
    logits = [network(images) for network in (fast, plain)]
    torch.testing.assert_close(*logits, **EXACT)
    losses = [value.square().sum() for value in logits]
    assert_alike(gradients(fast, losses[0]), gradients(plain, losses[1]))


@pytest.mark.parametrize("d_architecture", ["resnet", "orig"])
def test_the_gradient_penalty_has_the_same_second_derivatives(d_architecture):
    both = pair(Discriminator, tiny(d_architecture=d_architecture))
    start = torch.randn(4, 3, 16, 16).double()
    found = []
    for network in both:
        images = start.clone().requires_grad_()
        penalty = gradient_penalty(network(images), images)
        found.append((penalty.detach(), *gradients(network, penalty.sum())))
    assert_alike(*found)
    assert any(gradient is not None and gradient.abs().max() > 1e-3 for gradient in found[0][1:])


def test_path_lengths_have_the_same_second_derivatives():
    both = pair(Generator, tiny())
    start, noise = torch.randn(2, both[0].num_ws, 6).double(), torch.randn(2, 3, 16, 16).double()
    found = []
    for network in both:
        ws = start.clone().requires_grad_()
        lengths = path_lengths(network.synthesis(ws, "const"), ws, noise)
        penalty = path_length_penalty(lengths, torch.tensor(0.3))
        found.append((lengths.detach(), *gradients(network.synthesis, penalty)))
    assert_alike(*found)


def test_both_trainings_draw_the_same_noise_for_each_image(monkeypatch):
    used = []

    def draw(network, ws, noise):
        used.append(noise)
        return torch.zeros(len(ws), 3, 16, 16)

    monkeypatch.setattr(SynthesisNetwork, "forward", draw)
    for kind in (StyleGAN2Task, ReferenceTask):
        task = kind(tiny(), seed=3)
        task._synthesise(torch.zeros(2, task.generator.num_ws, 6), torch.tensor([7, 8]))
    assert torch.equal(*used)


def test_both_trainings_begin_with_the_same_numbers():
    fast, plain = StyleGAN2Task(tiny(), seed=3), ReferenceTask(tiny(), seed=3)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in fast.state_dict().items())
    assert not plain.generator.synthesis.b16.conv1.weight.is_contiguous(memory_format=torch.channels_last)
