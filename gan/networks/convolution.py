"""Convolution whose derivatives of any order are as fast as a convolution.

y = correlate(x, w) is linear in x and in w, so every derivative of any order is one of three maps:

    correlate(x, w)            the convolution itself
    conv_transpose(y, w)       its adjoint in x
    weight_gradient(x, y)      its adjoint in w

PyTorch computes the last one in its second derivative as a convolution whose kernel is as large as an image, for which
no library has a fast path. Here each map calls the library's own kernel for it.

Under `torch.compile`, which differentiates once, PyTorch's own derivatives are used.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gan.networks.autograd import Context, Gradients


def arithmetic_dtype(x: Tensor) -> torch.dtype:
    """The type in which x is convolved: its own, but fp32 for fp16 on CPUs, few of which have fp16 units."""
    return torch.float32 if x.dtype == torch.float16 and x.device.type == "cpu" else x.dtype


class _Geometry(NamedTuple):
    """Sizes of a convolution from x to y."""

    stride: int
    padding: int
    kernel: int
    x_size: tuple[int, int]
    """Height and width; with a stride, several sizes of x give the same size of y."""

    def y_size(self) -> tuple[int, int]:
        """Height and width of y."""
        height, width = ((edge + 2 * self.padding - self.kernel) // self.stride + 1 for edge in self.x_size)
        return height, width

    def output_padding(self) -> tuple[int, int]:
        """Rows and columns at the end of x that do not contribute to y."""
        height, width = ((edge + 2 * self.padding - self.kernel) % self.stride for edge in self.x_size)
        return height, width


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
    dtype = arithmetic_dtype(x)
    bias = None if bias is None else bias.to(dtype)
    return F.conv2d(x.to(dtype), weight.to(dtype), bias, geometry.stride, geometry.padding).to(x.dtype)


def _transposed_convolution(y: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
    dtype, padding = arithmetic_dtype(y), geometry.output_padding()
    x = F.conv_transpose2d(y.to(dtype), weight.to(dtype), None, geometry.stride, geometry.padding, padding)
    return x.to(y.dtype)


_Gradient = Callable[..., Tensor]
"""From an operand and the gradient of the result to the weight gradient."""


class _WeightNode(torch.autograd.Function):
    """A separate node that computes the weight gradient; its forward result is a zero that takes no memory.

    Autograd does not pass on which gradients of a custom function are needed, but it runs only the nodes it needs. The
    first half of R1 and of the path lengths needs no weight gradient, which saves a third of the arithmetic.
    """

    @staticmethod
    def forward(ctx: Context, weight: Tensor, operand: list[Tensor], shape: list[int], gradient: _Gradient) -> Tensor:
        ctx.save_for_backward(*operand)  # in a list, so autograd does not link this node to its producer
        ctx.options = gradient
        return weight.new_zeros([]).expand(shape)

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        gradient: _Gradient = ctx.options
        return gradient(*ctx.saved_tensors, grad_outputs[0]), None, None, None


def _weight_node(weight: Tensor, operand: Tensor, shape: list[int], gradient: _Gradient) -> Tensor | None:
    if not (torch.is_grad_enabled() and weight.requires_grad):
        return None
    zero: Tensor = _WeightNode.apply(weight, [operand], shape, gradient)
    return zero


class _Correlate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,
        bias: Tensor | None,
        weight_node: Tensor | None,
        weight: list[Tensor],
        geometry: _Geometry,
    ) -> Tensor:
        ctx.save_for_backward(*weight)
        ctx.options = geometry
        return _convolution(x, weight[0], bias, geometry)

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        (grad,), (weight,) = grad_outputs, ctx.saved_tensors
        by_x, by_bias, by_weight = ctx.needs_input_grad[:3]
        return (
            _conv_transpose(grad, weight, ctx.options) if by_x else None,
            grad.sum(dim=(0, 2, 3)) if by_bias else None,
            grad if by_weight else None,
            None,
            None,
        )


class _ConvTranspose(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context, y: Tensor, weight_node: Tensor | None, weight: list[Tensor], geometry: _Geometry
    ) -> Tensor:
        ctx.save_for_backward(*weight)
        ctx.options = geometry
        return _transposed_convolution(y, weight[0], geometry)

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        (grad,), (weight,) = grad_outputs, ctx.saved_tensors
        by_y, by_weight = ctx.needs_input_grad[:2]
        return (
            _correlate(grad, weight, None, ctx.options) if by_y else None,
            grad if by_weight else None,
            None,
            None,
        )


class _WeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, y: Tensor, geometry: _Geometry) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.options = geometry
        dtype = arithmetic_dtype(x)
        return _weight_gradient(x.to(dtype), y.to(dtype), geometry).to(x.dtype)

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Tensor) -> Gradients:
        (grad,) = grad_outputs
        x, y = ctx.saved_tensors
        by_x, by_y, _ = ctx.needs_input_grad
        return (
            _conv_transpose(y, grad, ctx.options) if by_x else None,
            _correlate(x, grad, None, ctx.options) if by_y else None,
            None,
        )


def _correlate(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
    if torch.compiler.is_compiling():
        return _convolution(x, weight, bias, geometry)
    shape = [len(x), len(weight), *geometry.y_size()]
    node = _weight_node(weight, x, shape, lambda x, grad: _WeightGradient.apply(x, grad, geometry))
    y: Tensor = _Correlate.apply(x, bias, node, [weight], geometry)
    return y


def _conv_transpose(y: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
    if torch.compiler.is_compiling():
        return _transposed_convolution(y, weight, geometry)
    shape = [len(y), weight.shape[1], *geometry.x_size]
    node = _weight_node(weight, y, shape, lambda y, grad: _WeightGradient.apply(grad, y, geometry))
    x: Tensor = _ConvTranspose.apply(y, node, [weight], geometry)
    return x


def correlate(
    x: Float[Tensor, "n i h w"],
    weight: Float[Tensor, "o i k k"],
    bias: Float[Tensor, " o"] | None = None,
    stride: int = 1,
    padding: int = 0,
) -> Float[Tensor, "n o h2 w2"]:
    """Convolution in the sense of deep learning (cross-correlation), with square weights."""
    return _correlate(x, weight, bias, _Geometry(stride, padding, weight.shape[-1], (x.shape[2], x.shape[3])))


def conv_transpose(
    y: Float[Tensor, "n o h w"], weight: Float[Tensor, "o i k k"], stride: int = 1
) -> Float[Tensor, "n i h2 w2"]:
    """Transposed convolution, the adjoint of `correlate` without padding."""
    kernel = weight.shape[-1]
    height, width = ((edge - 1) * stride + kernel for edge in y.shape[2:])
    return _conv_transpose(y, weight, _Geometry(stride, 0, kernel, (height, width)))


def _weight_gradient(x: Tensor, y: Tensor, geometry: _Geometry) -> Tensor:
    kernel, stride, padding = geometry.kernel, geometry.stride, geometry.padding
    if stride > 1 and x.device.type == "cpu" and x.dtype == torch.float32:
        # oneDNN's strided kernel is up to four times faster from the contiguous layout
        x, y = x.contiguous(), y.contiguous()
    weight = x.new_empty([y.shape[1], x.shape[1], kernel, kernel])  # only its size and layout matter
    if x.is_contiguous(memory_format=torch.channels_last):
        weight = weight.to(memory_format=torch.channels_last)
    sizes, no_bias, only_weight = ([stride] * 2, [padding] * 2, [1, 1]), None, [False, True, False]
    gradient: Tensor
    _, gradient, _ = torch.ops.aten.convolution_backward(y, x, weight, no_bias, *sizes, False, [0, 0], 1, only_weight)
    return gradient
