import math

import numpy as np
import pytest
import torch

from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from gan.settings import GanSettings
from gan.training import losses
from tests.reference.gan_numpy import finite_difference


def settings():
    return GanSettings(
        resolution=8, batch_size=2, channel_base=32, channel_max=4, z_dim=3, w_dim=3, num_mapping_layers=1
    )


def test_losses_are_the_logarithms_of_the_wrong_probability():
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    expected_d = -np.log(sigmoid(np.array([2.0, -1.0]))).mean() - np.log(1 - sigmoid(np.array([0.5, -3.0]))).mean()
    expected_g = -np.log(sigmoid(np.array([0.5, -3.0]))).mean()
    assert losses.discriminator_loss(real, fake).item() == pytest.approx(expected_d, rel=1e-6)
    assert losses.generator_loss(fake).item() == pytest.approx(expected_g, rel=1e-6)


def test_gradient_penalty_of_a_network_agrees_with_finite_differences():
    torch.manual_seed(0)
    discriminator = Discriminator(settings()).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    penalty = losses.gradient_penalty(discriminator(images), images)

    def logits(array):
        with torch.no_grad():
            return discriminator(torch.from_numpy(array)).sum().item()

    gradient = finite_difference(logits, images.detach().numpy())
    np.testing.assert_allclose(penalty.detach(), (gradient**2).sum(axis=(1, 2, 3)), rtol=1e-5)


def test_penalty_gradient_by_the_weights_agrees_with_finite_differences():
    torch.manual_seed(0)
    discriminator = Discriminator(settings()).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    weight = discriminator.b8.conv1.weight

    def penalty(array):
        with torch.no_grad():
            weight[0, 0] = torch.from_numpy(array)
        return losses.gradient_penalty(discriminator(images), images).mean().item()

    start = weight[0, 0].detach().numpy().copy()
    expected = finite_difference(penalty, start, step=1e-5)
    with torch.no_grad():
        weight[0, 0] = torch.from_numpy(start)
    losses.gradient_penalty(discriminator(images), images).mean().backward()
    np.testing.assert_allclose(weight.grad[0, 0], expected, rtol=1e-4, atol=1e-9)


def test_path_lengths_agree_with_a_jacobian_by_finite_differences():
    torch.manual_seed(0)
    generator = Generator(settings()).double()
    ws = torch.randn(1, generator.num_ws, 3, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    length = losses.path_lengths(generator.synthesis(ws, "const"), ws, noise)

    def projection(array):
        with torch.no_grad():
            image = generator.synthesis(torch.from_numpy(array), "const")
        return (image * noise).sum().item() / math.sqrt(64)

    gradient = finite_difference(projection, ws.detach().numpy())
    np.testing.assert_allclose(length.item(), np.sqrt((gradient**2).sum(axis=2).mean()), rtol=1e-5)


def test_path_length_gradient_by_the_weights_agrees_with_finite_differences():
    torch.manual_seed(0)
    generator = Generator(settings()).double()
    ws = torch.randn(2, generator.num_ws, 3, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    weight, target = generator.synthesis.b8.conv0.weight, torch.tensor(0.7, dtype=torch.float64)

    def penalty():
        return losses.path_length_penalty(losses.path_lengths(generator.synthesis(ws, "const"), ws, noise), target)

    def changed(array):
        with torch.no_grad():
            weight[0, 0] = torch.from_numpy(array)
        return penalty().item()

    start = weight[0, 0].detach().numpy().copy()
    expected = finite_difference(changed, start, step=1e-5)
    with torch.no_grad():
        weight[0, 0] = torch.from_numpy(start)
    penalty().backward()
    np.testing.assert_allclose(weight.grad[0, 0], expected, rtol=1e-4, atol=1e-9)


def test_lazy_adam_spans_as_many_iterations_as_without_extra_steps():
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    values = losses.lazy_adam(parameters, 0.0025, 4).defaults
    assert values["lr"] == pytest.approx(0.002)
    assert values["betas"] == pytest.approx((0.0, 0.99**0.8))
    # four main steps and one extra step forget as much as four plain steps
    assert values["betas"][1] ** 5 == pytest.approx(0.99**4)
    plain = losses.lazy_adam(parameters, 0.0025, None).defaults
    assert (plain["lr"], plain["betas"], plain["eps"]) == (0.0025, (0.0, 0.99), 1e-8)
