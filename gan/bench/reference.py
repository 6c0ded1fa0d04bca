"""A straightforward second implementation of the networks, as a reference for tests and the benchmark.

It performs separately what `gan.networks.layers` combines: zeros are inserted before filtering and pixels dropped after
it, each image has its own weights in a grouped convolution, and noise, bias, activation, gain and clamp are separate
operations, in PyTorch's default layout and with its own derivatives.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gan.networks.layers import Conv2dLayer, FullyConnectedLayer, LayerTypes, SynthesisLayer, ToRGBLayer
from gan.networks.ops import LRELU_GAIN, LRELU_SLOPE
from gan.training.task import StyleGAN2Task


def upfirdn2d(
    x: Float[Tensor, "n c h w"], kernel: Float[Tensor, "k k"], up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)
) -> Float[Tensor, "n c h2 w2"]:
    """Insert `up` - 1 zeros after each pixel, pad on both sides, convolve with `kernel`, keep every `down`-th pixel."""
    n, channels, height, width = x.shape
    x = F.pad(x.reshape(n, channels, height, 1, width, 1), [0, up - 1, 0, 0, 0, up - 1])
    x = F.pad(x.reshape(n, channels, height * up, width * up), [*pad, *pad])
    weight = kernel.flip([0, 1]).expand(channels, 1, -1, -1).to(x.dtype)
    return F.conv2d(x, weight, groups=channels)[:, :, ::down, ::down]


def _activate(x: Tensor, activation: str, gain: float = 1.0, clamp: float | None = None) -> Tensor:
    if activation == "lrelu":
        x = F.leaky_relu(x, LRELU_SLOPE)
    x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


class ReferenceFullyConnectedLayer(FullyConnectedLayer):
    """y = gain f(W x + b)."""

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        y = F.linear(x, self.weight * self.weight_gain) + self.bias * self.bias_gain
        return _activate(y, self.activation, LRELU_GAIN if self.activation == "lrelu" else 1.0)


class ReferenceConv2dLayer(Conv2dLayer):
    """Filter, convolution with a stride, bias, activation, gain, clamp."""

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        weight = self.weight * self.weight_gain
        if self.down == 1:
            y = F.conv2d(x, weight, padding=self.padding)
        elif weight.shape[-1] == 1:
            y = F.conv2d(upfirdn2d(x, self.resample_filter, down=2, pad=(1, 1)), weight)
        else:
            y = F.conv2d(upfirdn2d(x, self.resample_filter, pad=(2, 2)), weight, stride=2)
        if self.bias is not None:
            y = y + self.bias[:, None, None]
        return _activate(y, self.activation, self.gain, self.clamp)


def modulated_conv2d(
    x: Float[Tensor, "n i h w"],
    weight: Float[Tensor, "o i k k"],
    styles: Float[Tensor, "n i"],
    demodulate: bool = True,
    upsample_kernel: Float[Tensor, "f f"] | None = None,
) -> Float[Tensor, "n o h2 w2"]:
    """Convolve each image with its own weights, scaled by its style (Karras 2020a, Eqs. 1-3)."""
    n, in_channels, height, width = x.shape
    out_channels, _, size, _ = weight.shape
    w = weight * styles[:, None, :, None, None]
    if demodulate:
        w = w * (w.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, n * in_channels, height, width)  # the batch as groups of channels
    if upsample_kernel is None:
        y = F.conv2d(x, w.reshape(-1, in_channels, size, size), padding=size // 2, groups=n)
    else:
        w = w.transpose(1, 2).reshape(-1, out_channels, size, size)  # as stored: layers that upsample convolve
        y = F.conv_transpose2d(x, w, stride=2, groups=n)
        y = upfirdn2d(y, 4 * upsample_kernel, pad=(1, 1))
    return y.reshape(n, out_channels, *y.shape[2:])


class ReferenceSynthesisLayer(SynthesisLayer):
    """Modulated convolution, noise, bias, activation, gain, clamp."""

    def forward(
        self, x: Float[Tensor, "n i h w"], w: Float[Tensor, "n w_dim"], noise: str | Float[Tensor, "n p"] = "const"
    ) -> Float[Tensor, "n o h2 w2"]:
        kernel = self.resample_filter if self.up == 2 else None
        y = modulated_conv2d(x, self.weight, self.affine(w), upsample_kernel=kernel)
        scaled_noise = self.scaled_noise(noise)
        if scaled_noise is not None:
            y = y + scaled_noise
        return _activate(y + self.bias[:, None, None], "lrelu", LRELU_GAIN, self.clamp)


class ReferenceToRGBLayer(ToRGBLayer):
    """Modulated 1x1 convolution and bias."""

    def forward(self, x: Float[Tensor, "n i h w"], w: Float[Tensor, "n w_dim"]) -> Float[Tensor, "n c h w"]:
        y = modulated_conv2d(x, self.weight, self.affine(w) * self.weight_gain, demodulate=False)
        return _activate(y + self.bias[:, None, None], "linear", clamp=self.clamp)


def _upsample2d(x: Tensor, kernel: Tensor) -> Tensor:
    return upfirdn2d(x, 4 * kernel, up=2, pad=(2, 1))


REFERENCE_LAYERS = LayerTypes(
    ReferenceFullyConnectedLayer,
    ReferenceConv2dLayer,
    ReferenceSynthesisLayer,
    ReferenceToRGBLayer,
    _upsample2d,
    torch.contiguous_format,
)


class ReferenceTask(StyleGAN2Task):
    """The same training with the networks of this module."""

    layers = REFERENCE_LAYERS
