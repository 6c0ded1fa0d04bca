"""The layers of both networks, with equalised learning rate (Karras 2018, section 4.1).

Weights are stored with unit variance and scaled at run time by 1 / sqrt(fan in), so that all layers
have the same effective learning rate. Names and shapes of the tensors are those of the official checkpoints.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan.networks.convolution import correlate
from gan.networks.ops import LRELU_GAIN, activate_, conv2d_down, conv2d_up, fir_kernel, upsample2d


def _gain(activation: str) -> float:
    return LRELU_GAIN if activation == "lrelu" else 1.0


class FullyConnectedLayer(nn.Module):
    """Linear layer; `lr_multiplier` < 1 lowers its effective learning rate (mapping network: 0.01)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], bias_init))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        gain = _gain(self.activation)
        # addmm scales the small result rather than the weights
        bias = (self.bias * (self.bias_gain * gain)).to(x.dtype)
        y = torch.addmm(bias, x, self.weight.to(x.dtype).t(), alpha=self.weight_gain * gain)
        return activate_(y, self.activation)


class Conv2dLayer(nn.Module):
    """Convolution of the discriminator, with optional halving of the resolution.

    Args:
        trainable: False keeps weight and bias as buffers, which no optimiser updates (Freeze-D).
        gain: factor on the output; sqrt(0.5) in the two branches of a residual block keeps the variance.
    """

    weight: Tensor
    bias: Tensor | None
    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = True,
        activation: str = "linear",
        down: int = 1,
        gain: float = 1.0,
        clamp: float | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        self.activation, self.down = activation, down
        self.gain = gain * _gain(activation)
        self.clamp = None if clamp is None else clamp * gain
        self.padding = kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.register_buffer("resample_filter", fir_kernel())
        weight = torch.randn(out_channels, in_channels, kernel_size, kernel_size)
        values = {"weight": weight, "bias": torch.zeros(out_channels) if bias else None}
        for name, value in values.items():
            if trainable:
                self.register_parameter(name, None if value is None else nn.Parameter(value))
            elif value is not None:
                self.register_buffer(name, value)
            else:
                self.register_parameter(name, None)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        weight = (self.weight * (self.weight_gain * self.gain)).to(x.dtype)
        bias = None if self.bias is None else (self.bias * self.gain).to(x.dtype)
        if self.down == 2:
            y = conv2d_down(x, weight, self.resample_filter, bias)
        else:
            y = correlate(x, weight, bias, padding=self.padding)
        return activate_(y, self.activation, self.clamp)


def modulated_conv2d(
    x: Float[Tensor, "n i h w"],
    weight: Float[Tensor, "o i k k"],
    styles: Float[Tensor, "n i"],
    demodulate: bool = True,
    gain: float = 1.0,
    upsample_kernel: Float[Tensor, "f f"] | None = None,
    noise: Float[Tensor, "#n 1 h2 w2"] | None = None,
) -> Float[Tensor, "n o h2 w2"]:
    """Convolution whose weights are scaled for each image by its style (Karras 2020a, Eqs. 1-3), plus noise.

    Scaling input and output channels of the activations instead of the weights gives the same result with one
    convolution for the whole batch:  conv(x, w s) / |w s| = conv(x s, w) d,  d_o = 1 / sqrt(sum_ik (w_oik s_i)^2).

    Args:
        gain: factor on the result (and the noise), in place of the activation's gain.
        upsample_kernel: doubles the resolution; None keeps it.
        noise: added after demodulation, before bias and activation.
    """
    out_scale = None
    if demodulate:
        squares = weight.square().sum(dim=(2, 3))
        out_scale = (styles.square() @ squares.t() + 1e-8).rsqrt() * gain
    elif gain != 1.0:
        styles = styles * gain
    if x.dtype == torch.float16:
        weight, styles, peak = _within_half_range(weight, styles)
        out_scale = (peak if out_scale is None else out_scale * peak).clamp(max=torch.finfo(torch.float16).max)
    y = x * styles.to(x.dtype)[:, :, None, None]
    w = weight.to(x.dtype)
    y = correlate(y, w, padding=w.shape[-1] // 2) if upsample_kernel is None else conv2d_up(y, w, upsample_kernel)
    scaled_noise = None if noise is None else (noise * gain).to(x.dtype)
    if out_scale is None:
        return y if scaled_noise is None else y + scaled_noise
    factor = out_scale.to(x.dtype)[:, :, None, None]
    return y * factor if scaled_noise is None else torch.addcmul(scaled_noise, y, factor)


def _within_half_range(
    weight: Float[Tensor, "o i k k"], styles: Float[Tensor, "n i"]
) -> tuple[Float[Tensor, "o i k k"], Float[Tensor, "n i"], Float[Tensor, "n o"]]:
    """Weights and styles divided by their largest magnitudes, and the factor that the result is then multiplied by.

    With activations within +-256 no sum of products exceeds 256 sqrt(fan in) = 17,400 at 512 channels; fp16 ends at
    65,504. The product of the three is unchanged, so the divisors need no gradient.
    """
    fan_in = weight[0].numel()
    weight_peak = weight.detach().abs().amax(dim=(1, 2, 3)).clamp(min=1e-8) * math.sqrt(fan_in)
    style_peak = styles.detach().abs().amax(dim=1, keepdim=True).clamp(min=1e-8)
    return weight / weight_peak[:, None, None, None], styles / style_peak, style_peak * weight_peak


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU; optionally doubles the resolution first."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, resolution: int, up: int = 1, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.resolution, self.up, self.clamp = resolution, up, clamp
        self.register_buffer("resample_filter", fir_kernel())
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def scaled_noise(self, noise: str | Float[Tensor, "n p"]) -> Float[Tensor, "#n 1 r r"] | None:
        """Noise times the learnt strength: "const" is stored with the network, "none" is none, rows are per image."""
        if isinstance(noise, str):
            if noise == "none":
                return None
            noise = self.noise_const
        return noise.reshape(-1, 1, self.resolution, self.resolution) * self.noise_strength

    def forward(
        self, x: Float[Tensor, "n i h w"], w: Float[Tensor, "n w_dim"], noise: str | Float[Tensor, "n p"] = "const"
    ) -> Float[Tensor, "n o h2 w2"]:
        y = modulated_conv2d(
            x,
            self.weight,
            self.affine(w),
            gain=LRELU_GAIN,
            upsample_kernel=self.resample_filter if self.up == 2 else None,
            noise=self.scaled_noise(noise),
        )
        y += (self.bias * LRELU_GAIN).to(y.dtype)[:, None, None]
        return activate_(y, "lrelu", self.clamp)


class ToRGBLayer(nn.Module):
    """Modulated 1x1 convolution to the image's channels, without demodulation or activation."""

    def __init__(self, in_channels: int, image_channels: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(image_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(image_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Float[Tensor, "n i h w"], w: Float[Tensor, "n w_dim"]) -> Float[Tensor, "n c h w"]:
        y = modulated_conv2d(x, self.weight, self.affine(w), demodulate=False, gain=self.weight_gain)
        y += self.bias.to(y.dtype)[:, None, None]
        return activate_(y, "linear", self.clamp)


class MinibatchStdLayer(nn.Module):
    """Append one channel: the standard deviation within groups of images, averaged over channels and pixels.

    A group takes every (n / group_size)-th image. Ranks and passes take every k-th image of the global batch too, so
    the groups do not depend on the number of ranks and passes.
    """

    def __init__(self, group_size: int) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c+1 h w"]:
        n, _, h, w = x.shape
        size = min(self.group_size, n)
        if n % size:
            raise ValueError(f"{n} images cannot be split into groups of {size}")
        groups = x.reshape(size, n // size, *x.shape[1:])
        std = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
        statistic = std.repeat(size).reshape(n, 1, 1, 1).expand(n, 1, h, w)
        return torch.cat([x, statistic], dim=1)


class LayerTypes(NamedTuple):
    """Layer classes of the networks; `gan.bench.reference` builds the same networks with other ones."""

    fully_connected: type[FullyConnectedLayer]
    conv: type[Conv2dLayer]
    synthesis: type[SynthesisLayer]
    to_rgb: type[ToRGBLayer]
    upsample: Callable[[Tensor, Tensor], Tensor]
    """Doubles the image's resolution with the given filter."""
    memory_format: torch.memory_format
    """Of weights and activations."""


FAST_LAYERS = LayerTypes(
    FullyConnectedLayer, Conv2dLayer, SynthesisLayer, ToRGBLayer, upsample2d, memory_format=torch.channels_last
)
