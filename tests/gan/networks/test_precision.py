"""Low precision: what it computes in, how far it strays, and that it trains; on CUDA too where there is a device."""

import numpy as np
import pytest
import torch

from gan.networks import layers
from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from gan.networks.ops import fir_kernel
from gan.training.losses import gradient_penalty
from gan.training.task import StyleGAN2Task
from segkit.core.determinism import deterministic_kernels
from tests.gan.train_together import SEED, fit, tiny
from tests.reference import gan_numpy as reference

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
FARTHEST = {"bf16": 0.03, "fp16": 0.004}  # of the largest value: some eight roundings one after the other


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def same_weights(kind, **changes):
    """A network in single and in low precision with the same numbers."""
    torch.manual_seed(0)
    exact = kind(tiny())
    with torch.no_grad():
        for parameter in exact.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    low = kind(tiny(num_low_precision_resolutions=2, **changes))
    low.load_state_dict(exact.state_dict())
    return exact, low


@pytest.mark.parametrize("low_precision", DTYPES)
def test_the_highest_resolutions_compute_in_the_format_that_is_asked_for(low_precision):
    generator = Generator(tiny(num_low_precision_resolutions=2, low_precision=low_precision))
    seen = {}
    for name in ("b4", "b8", "b16"):
        block = generator.synthesis.get_submodule(name)
        block.conv1.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output.dtype}))
    assert generator(torch.randn(1, generator.z_dim)).dtype == torch.float32
    assert seen == {"b4": torch.float32, "b8": DTYPES[low_precision], "b16": DTYPES[low_precision]}


@pytest.mark.parametrize("low_precision", DTYPES)
def test_low_precision_strays_little_from_single(low_precision):
    exact, low = same_weights(Generator, low_precision=low_precision)
    z = torch.randn(4, exact.z_dim)
    images = [network(z, noise_mode="const") for network in (exact, low)]
    distance = (images[1] - images[0]).abs().max() / images[0].abs().max()
    assert 0 < distance < FARTHEST[low_precision]
    exact, low = same_weights(Discriminator, low_precision=low_precision)
    penalties = []
    for network in (exact, low):
        leaf = images[0].detach().clone().requires_grad_()
        penalties.append(gradient_penalty(network(leaf), leaf))
    torch.testing.assert_close(*penalties, rtol=4 * FARTHEST[low_precision], atol=0.0)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("factor", [1e-4, 1.0, 1e4])
def test_modulated_convolution_stays_within_the_range_of_half_precision(up, factor):
    """The largest activations there can be, styles and weights of any size: no product is formed that overflows."""
    x, weight = random(2, 64, 6, 6), random(8, 64, 3, 3, seed=1) * factor
    x *= 256 / np.abs(x).max()
    styles = random(2, 64, seed=2) * factor
    expected = reference.modulated_conv(x, weight, styles, up=up)
    found = layers.modulated_conv2d(
        torch.from_numpy(x).half(),
        *(torch.from_numpy(operand).float() for operand in (weight, styles)),
        upsample_kernel=fir_kernel() if up else None,
    )
    assert found.dtype == torch.float16
    assert np.abs(found.double().numpy() - expected).max() < 0.004 * np.abs(expected).max()


def test_an_image_layer_in_half_precision_saturates_at_its_clamp_instead_of_overflowing():
    layer = layers.ToRGBLayer(64, 3, w_dim=5, clamp=256.0)
    torch.nn.init.constant_(layer.affine.bias, 1e4)
    x = torch.from_numpy(random(2, 64, 4, 4)).float() * 50
    expected = layer(x, torch.zeros(2, 5))
    found = layer(x.half(), torch.zeros(2, 5))
    assert (expected.abs() == 256).all()
    assert torch.equal(found.float(), expected)


def test_large_styles_leave_a_half_precision_image_as_it_is():
    exact, low = same_weights(Generator, low_precision="fp16")
    z = torch.randn(4, exact.z_dim)
    before = low(z, noise_mode="const")
    with torch.no_grad():
        for module in low.synthesis.modules():
            if isinstance(module, layers.SynthesisLayer):  # demodulation divides by the styles' size
                module.affine.weight.mul_(1e4)
                module.affine.bias.mul_(1e4)
    after = low(z, noise_mode="const")
    assert (after - before).abs().max() < FARTHEST["fp16"] * before.abs().max()


def regularised(low_precision):
    """Three iterations with all phases; Adam's first steps have the sign of the gradient, so they have to be small."""
    return tiny(
        kimg=0.012,
        pl_interval=1,
        r1_interval=1,
        learning_rate=1e-5,
        augment="none",
        train_noise="const",
        num_low_precision_resolutions=2,
        low_precision=low_precision,
    )


@pytest.mark.parametrize("low_precision", DTYPES)
def test_low_precision_trains_through_both_regularisations(tmp_path, low_precision):
    settings = regularised(low_precision)
    low, _ = fit(settings, tmp_path)
    exact, _ = fit(settings.model_copy(update={"num_low_precision_resolutions": 0}), tmp_path)
    assert {parameter.dtype for parameter in low.parameters()} == {torch.float32}
    for key in ("gan/r1", "gan/path_length"):
        assert float(low.latest[key]) == pytest.approx(float(exact.latest[key]), rel=2 * FARTHEST[low_precision])
        assert float(low.latest[key]) != float(exact.latest[key])
    assert all(torch.isfinite(value).all() for value in low.state_dict().values())
    start = StyleGAN2Task(settings, SEED)
    for found, first in zip(low.parameters(), start.parameters(), strict=True):
        assert not found.requires_grad or not torch.equal(found, first)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("low_precision", DTYPES)
@pytest.mark.parametrize("kind", [Generator, Discriminator])
def test_a_gpu_computes_what_a_cpu_does(kind, low_precision):
    exact, low = same_weights(kind, low_precision=low_precision)
    start = torch.randn(4, exact.z_dim) if kind is Generator else torch.randn(4, 3, 16, 16)
    options = {"noise_mode": "const"} if kind is Generator else {}
    for network, farthest in ((exact, 1e-4), (low, FARTHEST[low_precision])):
        expected = network(start, **options)
        with deterministic_kernels(torch.device("cuda")):  # TF32 would stray as far as fp16
            found = network.cuda()(start.cuda(), **options).cpu()
        assert (found - expected).abs().max() < farthest * expected.abs().max()


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("low_precision", DTYPES)
def test_low_precision_trains_on_a_gpu(tmp_path, low_precision):
    settings = regularised(low_precision)
    in_single = settings.model_copy(update={"num_low_precision_resolutions": 0})
    with deterministic_kernels(torch.device("cuda")):
        low, _ = fit(settings, tmp_path, accelerator="gpu", devices=1)
        exact, _ = fit(in_single, tmp_path, accelerator="gpu", devices=1)  # a GPU draws other numbers than a CPU
    for key in ("gan/r1", "gan/path_length"):
        assert float(low.latest[key]) == pytest.approx(float(exact.latest[key]), rel=2 * FARTHEST[low_precision])
    assert all(torch.isfinite(value).all() for value in low.state_dict().values())
