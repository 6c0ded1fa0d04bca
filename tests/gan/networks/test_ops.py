import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gan.networks import ops
from tests.reference import gan_numpy as reference


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


KERNEL = ops.fir_kernel().double()


def tensor(array):
    return torch.from_numpy(array)


def test_upsampling_is_zero_insertion_then_filtering():
    x = random(2, 3, 5, 6)
    expected = reference.upfirdn(x, 2 * reference.TAPS, up=2, pad=(2, 1))
    np.testing.assert_allclose(ops.upsample2d(tensor(x), KERNEL), expected, atol=1e-12)


def test_downsampling_is_filtering_then_dropping_pixels():
    x = random(2, 3, 8, 6)
    expected = reference.upfirdn(x, reference.TAPS, down=2, pad=(1, 1))
    np.testing.assert_allclose(ops.downsample2d(tensor(x), KERNEL), expected, atol=1e-12)


def test_upsampling_keeps_a_constant_image_away_from_the_border():
    up = ops.upsample2d(torch.ones(1, 1, 8, 8), ops.fir_kernel())
    torch.testing.assert_close(up[..., 2:-2, 2:-2], torch.ones(1, 1, 12, 12))


def test_convolution_with_upsampling_equals_the_long_way():
    x, weight = random(2, 3, 5, 5), random(4, 3, 3, 3, seed=1)
    expected = np.stack([reference.conv_up(image, weight) for image in x])
    np.testing.assert_allclose(ops.conv2d_up(tensor(x), tensor(weight), KERNEL), expected, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3])
def test_convolution_with_downsampling_equals_the_long_way(size):
    x, weight = random(2, 3, 8, 8), random(4, 3, size, size, seed=1)
    expected = np.stack([reference.conv_down(image, weight) for image in x])
    np.testing.assert_allclose(ops.conv2d_down(tensor(x), tensor(weight), KERNEL), expected, atol=1e-12)


@pytest.mark.parametrize("clamp", [None, 1.5])
def test_activation_follows_its_formula(clamp):
    x = random(3, 4, 2, 2)
    expected = reference.leaky_relu(x, gain=1.0, clamp=clamp)
    np.testing.assert_allclose(ops.activate_(tensor(x.copy()), "lrelu", clamp), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_what_was_clamped_learns_nothing_in_any_precision(dtype):
    clamp = 256 * 0.5**0.5  # 181.02, which bf16 and fp16 hold as 181
    x = torch.tensor([-3000.0, -800.0, -1.0, 1.0, 180.0, 182.0, 3000.0], dtype=dtype, requires_grad=True)
    y = ops.activate_(x.clone(), "lrelu", clamp)
    y.sum().backward()
    assert y.abs().max().item() == pytest.approx(clamp, rel=1e-3)
    torch.testing.assert_close(x.grad, torch.tensor([0, 0.2, 0.2, 1, 1, 0, 0], dtype=dtype))


def test_activation_has_first_and_second_derivatives():
    x = tensor(random(3, 4) * 2).requires_grad_()

    def cubed(x):  # the activation alone has no curvature that a second derivative could show
        return ops.activate_(x**3, "lrelu", 4.0)

    assert gradcheck(cubed, x)
    assert gradgradcheck(cubed, x)


def test_linear_activation_clamps_without_gain():
    assert ops.activate_(torch.tensor([-3.0, 0.5, 3.0]), "linear", 2.0).tolist() == [-2.0, 0.5, 2.0]


def test_sampling_agrees_with_bilinear_interpolation_by_hand():
    image = random(1, 1, 5, 7)
    rng = np.random.default_rng(1)
    grid = rng.uniform(-1.3, 1.3, (1, 4, 3, 2))
    xs, ys = (grid[0, ..., 0] + 1) * 7 / 2 - 0.5, (grid[0, ..., 1] + 1) * 5 / 2 - 0.5
    expected = reference.bilinear(image[0, 0], xs, ys)
    np.testing.assert_allclose(ops.grid_sample(tensor(image), tensor(grid))[0, 0], expected, atol=1e-12)


def test_sampling_is_twice_differentiable_in_the_image():
    image = tensor(random(2, 2, 4, 5)).requires_grad_()
    grid = tensor(np.random.default_rng(1).uniform(-1.2, 1.2, (2, 3, 3, 2)))

    def sampled(image):
        return ops.grid_sample(image**2, grid)

    assert gradcheck(sampled, image)
    assert gradgradcheck(sampled, image)
