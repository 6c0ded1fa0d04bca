import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gan.networks.convolution import conv_transpose, correlate
from gan.networks.discriminator import Discriminator
from gan.training.losses import gradient_penalty
from tests.gan.networks.convolutions_seen import Seen
from tests.gan.small_networks import tiny
from tests.reference import gan_numpy as reference

SHAPES = [(3, 1, 1, 5), (3, 2, 0, 7), (3, 2, 0, 6), (3, 2, 1, 6), (1, 1, 0, 4), (1, 2, 0, 5)]


def random(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).requires_grad_()


@pytest.mark.parametrize(("size", "stride", "padding", "edge"), SHAPES)
def test_convolution_agrees_with_loops(size, stride, padding, edge):
    x, weight, bias = random(2, 3, edge, edge), random(4, 3, size, size, seed=1), random(4, seed=2)
    result = correlate(x, weight, bias, stride, padding).detach()
    x, weight, bias = (tensor.detach().numpy() for tensor in (x, weight, bias))
    expected = [reference.correlate(image, weight, padding, stride) + bias[:, None, None] for image in x]
    np.testing.assert_allclose(result, np.stack(expected), atol=1e-12)


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (3, 1), (1, 1)])
def test_spreading_is_the_adjoint_of_convolution(size, stride):
    y, weight = random(2, 4, 3, 3), random(4, 3, size, size, seed=1)
    transposed = conv_transpose(y, weight, stride)
    x = random(*transposed.shape, seed=2)
    torch.testing.assert_close((correlate(x, weight, None, stride) * y).sum(), (x * transposed).sum())


@pytest.mark.parametrize(("size", "stride", "padding", "edge"), SHAPES)
def test_convolution_has_first_and_second_derivatives(size, stride, padding, edge):
    operands = random(2, 2, edge, edge), random(3, 2, size, size, seed=1), random(3, seed=2)
    assert gradcheck(lambda *tensors: correlate(*tensors, stride, padding), operands)
    assert gradgradcheck(lambda *tensors: correlate(*tensors, stride, padding), operands)


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (3, 1), (1, 1)])
def test_spreading_has_first_and_second_derivatives(size, stride):
    operands = random(2, 3, 3, 3), random(3, 2, size, size, seed=1)
    assert gradcheck(lambda *tensors: conv_transpose(*tensors, stride), operands)
    assert gradgradcheck(lambda *tensors: conv_transpose(*tensors, stride), operands)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_precision_and_layout_gives_the_same_gradients(dtype, layout):
    x, weight = random(2, 8, 9, 9), random(4, 8, 3, 3, seed=1)
    expected = torch.autograd.grad(correlate(x, weight, None, 2).square().sum(), (x, weight))
    x, weight = (t.detach().to(dtype).to(memory_format=layout).requires_grad_() for t in (x, weight))
    found = torch.autograd.grad(correlate(x, weight, None, 2).square().sum(), (x, weight))
    for gradient, exact in zip(found, expected, strict=True):
        assert gradient.dtype == dtype
        worst = (gradient.double() - exact).abs().max() / exact.abs().max()
        assert worst < 4 * torch.finfo(dtype).eps


def test_gradients_by_the_weights_are_computed_only_where_they_are_asked_for():
    torch.manual_seed(0)
    discriminator = Discriminator(tiny())
    num_convolutions = sum(weight.ndim == 4 for weight in discriminator.parameters())
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    with Seen() as first:
        penalty = gradient_penalty(discriminator(images), images).sum()
    with Seen() as second:
        penalty.backward(inputs=list(discriminator.parameters()))
    assert first.weight_gradients == 0
    # by the weights as they scale the image and as they scale its gradient
    assert 0 < second.weight_gradients <= 2 * num_convolutions


def test_no_derivative_is_a_convolution_with_an_image_for_its_kernel():
    torch.manual_seed(0)
    discriminator = Discriminator(tiny())
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    with Seen() as seen:
        gradient_penalty(discriminator(images), images).sum().backward()
    assert seen.largest_kernel == 4
