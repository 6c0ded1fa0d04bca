"""Both networks of StyleGAN2 in plain numpy, from their tensors by name, layer after layer as the papers tell them.

Weights are stored with unit variance and divided by sqrt(fan in) where they are used (Karras 2018, section 4.1).
"""

import numpy as np

from tests.reference.gan_numpy import TAPS, conv_down, correlate, leaky_relu, minibatch_std, modulated_conv, upfirdn

CLAMP = 256.0


def dense(tensors, name, x, learning_rate=1.0):
    """A fully connected layer; one that learns slower than the others is stored larger and scaled down in use."""
    weight = tensors[f"{name}.weight"] * learning_rate / np.sqrt(x.shape[-1])
    return x @ weight.T + tensors[f"{name}.bias"] * learning_rate


def mapping(tensors, z):
    """(n, z) to (n, w): normalised, then layers that learn a hundredth as fast as the rest."""
    x = z / np.sqrt((z**2).mean(axis=1, keepdims=True) + 1e-8)
    layer = 0
    while f"mapping.fc{layer}.weight" in tensors:
        x = leaky_relu(dense(tensors, f"mapping.fc{layer}", x, learning_rate=0.01))
        layer += 1
    return x


def synthesis(tensors, ws):
    """(n, layers, w) to images, with the noise that belongs to the network; the picture grows by skips."""

    def styled(name, x, w, up=False):
        styles = dense(tensors, f"synthesis.{name}.affine", w)
        y = modulated_conv(x, tensors[f"synthesis.{name}.weight"], styles, up=up)
        y = y + tensors[f"synthesis.{name}.noise_const"] * tensors[f"synthesis.{name}.noise_strength"]
        return leaky_relu(y + tensors[f"synthesis.{name}.bias"][:, None, None], clamp=CLAMP)

    def colours(name, x, w):
        styles = dense(tensors, f"synthesis.{name}.affine", w) / np.sqrt(x.shape[1])
        y = modulated_conv(x, tensors[f"synthesis.{name}.weight"], styles, demodulate=False)
        return np.clip(y + tensors[f"synthesis.{name}.bias"][:, None, None], -CLAMP, CLAMP)

    x = np.repeat(tensors["synthesis.b4.const"][None], len(ws), axis=0)
    x = styled("b4.conv1", x, ws[:, 0])
    image = colours("b4.torgb", x, ws[:, 1])
    edge, used = 8, 1
    while f"synthesis.b{edge}.conv0.weight" in tensors:
        x = styled(f"b{edge}.conv0", x, ws[:, used], up=True)
        x = styled(f"b{edge}.conv1", x, ws[:, used + 1])
        image = upfirdn(image, 2 * TAPS, up=2, pad=(2, 1)) + colours(f"b{edge}.torgb", x, ws[:, used + 2])
        edge, used = 2 * edge, used + 2
    return image


def discriminator(tensors, images, group_size):
    """(n, c, r, r) to logits (n, 1); residual blocks, whose branches are divided by sqrt(2) before they are added."""

    def weight_of(name):
        weight = tensors[f"{name}.weight"]
        return weight / np.sqrt(weight[0].size)

    def activated(name, y, share=1.0):
        return leaky_relu(y + tensors[f"{name}.bias"][:, None, None], 2**0.5 * share, clamp=CLAMP * share)

    def each(function, x, weight, **options):
        return np.stack([function(image, weight, **options) for image in x])

    edge, x = images.shape[-1], images
    x = activated(f"b{edge}.fromrgb", each(correlate, x, weight_of(f"b{edge}.fromrgb")))
    while edge > 4:
        beside = each(conv_down, x, weight_of(f"b{edge}.skip")) / 2**0.5
        x = activated(f"b{edge}.conv0", each(correlate, x, weight_of(f"b{edge}.conv0"), pad=1))
        x = activated(f"b{edge}.conv1", each(conv_down, x, weight_of(f"b{edge}.conv1")), share=0.5**0.5) + beside
        edge //= 2
    x = activated("b4.conv", each(correlate, minibatch_std(x, group_size), weight_of("b4.conv"), pad=1))
    return dense(tensors, "b4.out", leaky_relu(dense(tensors, "b4.fc", x.reshape(len(x), -1))))
