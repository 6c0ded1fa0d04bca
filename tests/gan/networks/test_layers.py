import numpy as np
import pytest
import torch

from gan.networks import layers
from gan.networks.ops import fir_kernel
from tests.reference import gan_numpy as reference


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("size", "demodulate", "up"), [(3, True, False), (3, True, True), (1, False, False)])
def test_scaling_activations_equals_scaling_each_images_weights(size, demodulate, up):
    x, weight, styles = random(3, 4, 5, 5), random(6, 4, size, size, seed=1), random(3, 4, seed=2)
    expected = reference.modulated_conv(x, weight, styles, demodulate, up)
    result = layers.modulated_conv2d(
        *(torch.from_numpy(a) for a in (x, weight, styles)),
        demodulate=demodulate,
        upsample_kernel=fir_kernel().double() if up else None,
    )
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_noise_is_added_after_demodulation():
    x, weight, styles, noise = random(2, 4, 5, 5), random(6, 4, 3, 3), random(2, 4), random(2, 1, 5, 5)
    expected = 1.5 * (reference.modulated_conv(x, weight, styles) + noise)
    x, weight, styles, noise = (torch.from_numpy(a) for a in (x, weight, styles, noise))
    np.testing.assert_allclose(layers.modulated_conv2d(x, weight, styles, gain=1.5, noise=noise), expected, atol=1e-12)


def test_synthesis_layer_is_modulation_noise_bias_and_leaky_relu():
    layer = layers.SynthesisLayer(4, 6, w_dim=5, resolution=8, up=2, clamp=2.0).double()
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.constant_(layer.noise_strength, 0.3)
    x, w = random(2, 4, 4, 4), random(2, 5, seed=3)
    arrays = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
    styles = w @ arrays["affine.weight"].T / np.sqrt(5) + arrays["affine.bias"]
    y = reference.modulated_conv(x, arrays["weight"], styles, up=True) + 0.3 * arrays["noise_const"]
    expected = reference.leaky_relu(y + arrays["bias"][:, None, None], clamp=2.0)
    result = layer(torch.from_numpy(x), torch.from_numpy(w), "const").detach()
    np.testing.assert_allclose(result, expected, atol=1e-6)  # the filter is stored in single precision


def test_styles_begin_at_one_so_that_modulation_begins_neutral():
    layer = layers.SynthesisLayer(4, 6, w_dim=5, resolution=8)
    torch.testing.assert_close(layer.affine(torch.zeros(2, 5)), torch.ones(2, 4))


def test_image_layer_scales_by_fan_in_and_does_not_demodulate():
    layer = layers.ToRGBLayer(16, 3, w_dim=5).double()
    x, w = random(2, 16, 4, 4), np.zeros((2, 5))
    expected = np.einsum("oi,nihw->nohw", layer.weight.detach().numpy()[:, :, 0, 0], x) / 4
    np.testing.assert_allclose(layer(torch.from_numpy(x), torch.from_numpy(w)).detach(), expected, atol=1e-12)


@pytest.mark.parametrize("group_size", [2, 4, 8])
def test_minibatch_standard_deviation_compares_groups(group_size):
    x = random(8, 3, 4, 4)
    result = layers.MinibatchStdLayer(group_size)(torch.from_numpy(x).float())
    np.testing.assert_allclose(result, reference.minibatch_std(x, group_size), atol=1e-6)


def test_groups_stay_the_same_when_ranks_take_every_second_image():
    x = torch.from_numpy(random(8, 3, 4, 4)).float()
    layer = layers.MinibatchStdLayer(4)
    whole = layer(x)
    for rank in range(2):
        torch.testing.assert_close(layer(x[rank::2]), whole[rank::2])


def test_a_batch_that_cannot_be_grouped_is_refused():
    with pytest.raises(ValueError, match="groups"):
        layers.MinibatchStdLayer(4)(torch.zeros(6, 1, 4, 4))


@pytest.mark.parametrize("down", [1, 2])
def test_discriminator_convolution_is_scaled_by_fan_in_and_gains(down):
    layer = layers.Conv2dLayer(4, 6, 3, activation="lrelu", down=down, gain=0.5**0.5, clamp=2.0).double()
    torch.nn.init.normal_(layer.bias)
    x = random(2, 4, 8, 8) * 9  # far enough for some to be clamped
    weight, bias = layer.weight.detach().numpy() / 6, layer.bias.detach().numpy()
    convolve = reference.conv_down if down == 2 else lambda image, w: reference.correlate(image, w, pad=1)
    y = np.stack([convolve(image, weight) for image in x]) + bias[:, None, None]
    # sqrt(2) of the activation times sqrt(1/2) of the branch is 1; the clamp belongs to the branch
    expected = reference.leaky_relu(y, gain=1.0, clamp=2**0.5)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), expected, atol=1e-5)
    assert (np.abs(expected) == 2**0.5).any()


def test_fully_connected_layer_learns_slower_but_starts_alike():
    torch.manual_seed(0)
    layer = layers.FullyConnectedLayer(64, 256, activation="lrelu", lr_multiplier=0.01)
    assert layer.weight.std().item() == pytest.approx(100, rel=0.05)
    x = torch.randn(500, 64)
    expected = reference.leaky_relu(x.numpy() @ layer.weight.detach().numpy().T * 0.01 / 8)
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-5)


def test_a_frozen_layer_keeps_its_weights_as_buffers_of_the_same_name():
    free = layers.Conv2dLayer(4, 6, 3)
    frozen = layers.Conv2dLayer(4, 6, 3, trainable=False)
    assert not list(frozen.parameters())
    frozen.load_state_dict(free.state_dict())
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(frozen(x), free(x))
