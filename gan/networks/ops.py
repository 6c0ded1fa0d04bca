"""Operations of the networks: FIR resampling, convolution with resampling, activation, twice-differentiable sampling.

All of it is plain PyTorch. The resampling filters run as strided depthwise convolutions, so no zeros are inserted and
no discarded pixels are computed (polyphase form).
"""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gan.networks.autograd import Context, Gradients
from gan.networks.convolution import arithmetic_dtype, conv_transpose, correlate

LRELU_SLOPE = 0.2
LRELU_GAIN = 2**0.5  # keeps the variance through a leaky ReLU (He 2015)


def fir_kernel(taps: Sequence[float] = (1, 3, 3, 1)) -> Float[Tensor, "k k"]:
    """Separable low-pass filter as a square kernel that sums to one."""
    row = torch.tensor(taps, dtype=torch.float64)
    kernel = torch.outer(row, row)
    return (kernel / kernel.sum()).float()


Pair = tuple[int, int]


class _Filter(torch.autograd.Function):
    """Correlate each channel with a fixed kernel, the same for all or one for each.

    Linear in the image, so the gradient is the adjoint, whose gradient is the filter again. PyTorch's convolution would
    keep the image for the kernel's gradient, which is not needed, and compute that in double backward.
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor, kernel: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.options = stride, padding, x.shape[2:]
        dtype = arithmetic_dtype(x)
        weight = _depthwise_weight(kernel.to(dtype), x.shape[1])
        return F.conv2d(x.to(dtype), weight, None, stride, padding, groups=x.shape[1]).to(x.dtype)

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        (kernel,) = ctx.saved_tensors
        return _FilterAdjoint.apply(grad_outputs[0], kernel, *ctx.options), None, None, None


class _FilterAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, kernel: Tensor, stride: Pair, padding: Pair, out_size: torch.Size) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.options = stride, padding
        if stride == (1, 1):  # the adjoint is a filter too, which has the faster kernel
            height, width = kernel.shape[-2:]
            dtype = arithmetic_dtype(x)
            weight = _depthwise_weight(kernel.flip([-2, -1]).to(dtype), x.shape[1])
            borders = (height - 1 - padding[0], width - 1 - padding[1])
            return F.conv2d(x.to(dtype), weight, padding=borders, groups=x.shape[1]).to(x.dtype)
        # oneDNN has no fast transposed depthwise convolution in bf16: 15 ms where fp32 takes 0.2
        dtype = torch.float32 if x.device.type == "cpu" and x.dtype == torch.bfloat16 else arithmetic_dtype(x)
        weight = _depthwise_weight(kernel.to(dtype), x.shape[1])
        taps = kernel.shape[-2:]
        output_padding = [
            out - ((size - 1) * step - 2 * pad + length)
            for out, size, step, pad, length in zip(out_size, x.shape[2:], stride, padding, taps, strict=True)
        ]
        y = F.conv_transpose2d(
            x.to(dtype), weight, stride=stride, padding=padding, output_padding=output_padding, groups=x.shape[1]
        )
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        return _Filter.apply(grad_outputs[0], *ctx.saved_tensors, *ctx.options), None, None, None, None


def _depthwise_weight(kernel: Tensor, num_channels: int) -> Tensor:
    """Weights (c, 1, k, l) of a depthwise convolution, from one kernel for all channels or one for each."""
    return (kernel if kernel.ndim == 2 else kernel[:, None]).expand(num_channels, 1, *kernel.shape[-2:])


def filter2d(
    x: Float[Tensor, "n c h w"],
    kernel: Float[Tensor, "k l"] | Float[Tensor, "c k l"],
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
) -> Float[Tensor, "n c h2 w2"]:
    """Correlate each channel with `kernel` or its own one, zeros outside; keep every `stride`-th pixel."""
    y: Tensor = _Filter.apply(x, kernel, stride, padding)
    return y


def filter2d_adjoint(
    x: Float[Tensor, "n c h w"], kernel: Float[Tensor, "k l"], stride: Pair, padding: Pair = (0, 0)
) -> Float[Tensor, "n c h2 w2"]:
    """The adjoint of `filter2d`: insert zeros between pixels, convolve with `kernel`, cut `padding` off each side."""
    size = [
        (edge - 1) * step - 2 * pad + taps
        for edge, step, pad, taps in zip(x.shape[2:], stride, padding, kernel.shape, strict=True)
    ]
    y: Tensor = _FilterAdjoint.apply(x, kernel, stride, padding, torch.Size(size))
    return y


def upsample2d(x: Float[Tensor, "n c h w"], kernel: Float[Tensor, "k k"]) -> Float[Tensor, "n c 2*h 2*w"]:
    """Double the resolution: insert zeros, then filter with 4 `kernel`, of even length."""
    pad = kernel.shape[0] // 2 - 1
    return filter2d_adjoint(x, 4 * kernel, stride=(2, 2), padding=(pad, pad))


def downsample2d(x: Float[Tensor, "n c h w"], kernel: Float[Tensor, "k k"]) -> Float[Tensor, "n c h//2 w//2"]:
    """Halve the resolution: filter with `kernel`, of even length, then keep every second pixel."""
    pad = kernel.shape[0] // 2 - 1
    return filter2d(x, kernel, stride=(2, 2), padding=(pad, pad))


def conv2d_up(
    x: Float[Tensor, "n i h w"], weight: Float[Tensor, "o i k k"], kernel: Float[Tensor, "f f"]
) -> Float[Tensor, "n o 2*h 2*w"]:
    """Upsample by two, then convolve (3x3, centred).

    A true convolution: unlike `correlate` it does not rotate the stored kernel by 180 degrees; official weights are
    trained that way. Upsampling and convolution are linear and shift-invariant on the zero-extended plane, so their
    order does not matter: the transposed convolution skips the inserted zeros, and the filter follows.
    """
    return filter2d(conv_transpose(x, weight.transpose(0, 1), stride=2), 4 * kernel, padding=(1, 1))


def conv2d_down(
    x: Float[Tensor, "n i h w"],
    weight: Float[Tensor, "o i k k"],
    kernel: Float[Tensor, "f f"],
    bias: Float[Tensor, " o"] | None = None,
) -> Float[Tensor, "n o h//2 w//2"]:
    """Filter, then convolve with stride two; a 1x1 kernel needs the filter at the kept pixels only."""
    if weight.shape[-1] == 1:
        return correlate(downsample2d(x, kernel), weight, bias)
    pad = kernel.shape[0] // 2
    return correlate(filter2d(x, kernel, padding=(pad, pad)), weight, bias, stride=2)


class _ClampedLeakyReLU(torch.autograd.Function):
    """Leaky ReLU and clamp in place, which keep one tensor for backward instead of two.

    The derivative is piecewise constant and depends only on the output's sign and magnitude, so the second derivative
    applies the same mask again.
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor, clamp: float | None) -> Tensor:
        y = F.leaky_relu_(x, LRELU_SLOPE)
        if clamp is not None:
            y = y.clamp_(-clamp, clamp)
        ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        ctx.options = clamp
        return y

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        (y,) = ctx.saved_tensors
        return _ClampedLeakyReLUGrad.apply(grad_outputs[0], y, ctx.options), None


class _ClampedLeakyReLUGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, grad: Tensor, y: Tensor, clamp: float | None) -> Tensor:
        ctx.save_for_backward(y)
        ctx.options = clamp
        dx: Tensor = torch.ops.aten.leaky_relu_backward(grad, y, LRELU_SLOPE, True)
        if clamp is not None:
            torch.ops.aten.hardtanh_backward.grad_input(dx, y, -clamp, clamp, grad_input=dx)
        return dx

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        (y,) = ctx.saved_tensors
        return _ClampedLeakyReLUGrad.apply(grad_outputs[0], y, ctx.options), None, None


@cache
def _representable(bound: float, dtype: torch.dtype) -> float:
    """The bound rounded to the type; clamped values are found by comparison with it."""
    return torch.tensor(bound, dtype=dtype).item()


def activate_(x: Float[Tensor, "..."], activation: str, clamp: float | None = None) -> Float[Tensor, "..."]:
    """Activation ("linear" or "lrelu" of slope 0.2) and clamp, in place.

    The gain of sqrt(2) is not applied here: lrelu(g x) = g lrelu(x) for g > 0, so the layers multiply their weights and
    biases by it, which are smaller than the activations.
    """
    if activation == "lrelu" and not torch.compiler.is_compiling():
        bound = None if clamp is None else _representable(clamp, x.dtype)
        y: Tensor = _ClampedLeakyReLU.apply(x, bound)
        return y
    if activation == "lrelu":
        x = F.leaky_relu(x, LRELU_SLOPE)  # the compiler plans memory itself and does not support in-place changes here
    return x if clamp is None else x.clamp(-clamp, clamp)


class _GridSample(torch.autograd.Function):
    """Bilinear sampling, zeros outside, differentiable any number of times with respect to the image.

    Sampling is linear in the image, so its gradient is the adjoint and the gradient of the adjoint is sampling again.
    PyTorch's operator has no second derivative. The grid needs no gradient, since it depends on random numbers only.
    """

    @staticmethod
    def forward(ctx: Context, image: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.options = image.shape
        return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        (grid,) = ctx.saved_tensors
        return _GridSampleAdjoint.apply(grad_outputs[0], grid, ctx.options), None


class _GridSampleAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, grad: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        image = grad.new_zeros(shape)  # its values affect only the grid's gradient, which is not computed
        bilinear, zeros = 0, 0
        gradient: Tensor
        gradient, _ = torch.ops.aten.grid_sampler_2d_backward(grad, image, grid, bilinear, zeros, False, [True, False])
        return gradient

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        (grid,) = ctx.saved_tensors
        return _GridSample.apply(grad_outputs[0], grid), None, None


def grid_sample(image: Float[Tensor, "n c h w"], grid: Float[Tensor, "n h2 w2 2"]) -> Float[Tensor, "n c h2 w2"]:
    """Bilinear sampling at normalised coordinates (edge of the outer pixels at +-1), zeros outside the image."""
    y: Tensor = _GridSample.apply(image, grid)
    return y
