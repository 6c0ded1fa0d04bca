"""Convolution whose derivatives of any order cost what a convolution costs.

y = correlate(x, w) is linear in x and in w, so every derivative, of whatever order, is again one of three maps:

    correlate(x, w)            the convolution itself
    spread(y, w)               its adjoint in x, the transposed convolution
    weight_gradient(x, y)      its adjoint in w

PyTorch's own second derivative computes the last as a convolution whose kernel is as large as an image, for which no
library has a fast path. Here each map calls the kernel that is made for it.

Under `torch.compile`, which differentiates once, they are PyTorch's own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def arithmetic_dtype(x: Tensor) -> torch.dtype:
    """What a convolution of x computes in: x's own type, but fp32 for fp16 on CPUs, few of which have units for it."""
    return torch.float32 if x.dtype == torch.float16 and x.device.type == "cpu" else x.dtype


class _Geometry(NamedTuple):
    """How x and y belong together."""

    stride: int
    padding: int
    kernel: int
    x_size: tuple[int, int]
    """Height and width; with a stride, several sizes of x give the same size of y."""

    def y_size(self) -> tuple[int, int]:
        """Height and width of y."""
        height, width = ((edge + 2 * self.padding - self.kernel) // self.stride + 1 for edge in self.x_size)
        return height, width

    def rest(self) -> tuple[int, int]:
        """Rows and columns of x that y does not reach."""
        height, width = ((edge + 2 * self.padding - self.kernel) % self.stride for edge in self.x_size)
        return height, width


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
    dtype = arithmetic_dtype(x)
    bias = None if bias is None else bias.to(dtype)
    return F.conv2d(x.to(dtype), weight.to(dtype), bias, geometry.stride, geometry.padding).to(x.dtype)


def _transposed_convolution(y: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
    dtype, rest = arithmetic_dtype(y), geometry.rest()
    x = F.conv_transpose2d(y.to(dtype), weight.to(dtype), None, geometry.stride, geometry.padding, rest)
    return x.to(y.dtype)


class _WeightNode(torch.autograd.Function):
    """Where the gradient by the weights is computed, as a node of its own; forward it is a zero that takes no memory.

    A custom function does not learn which of its gradients are asked for, but autograd runs only the nodes it needs.
    The first half of R1 and of the path lengths asks for none by the weights: a third of the arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, operand: list[Tensor], shape: list[int], gradient: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        ctx.save_for_backward(*operand)  # came in a list, so that this node is none on the way to its producer
        ctx.gradient = gradient
        return weight.new_zeros([]).expand(shape)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        return ctx.gradient(*ctx.saved_tensors, grad_outputs[0]), None, None, None


def _weight_node(
    weight: Tensor, operand: Tensor, shape: list[int], gradient: Callable[[Tensor, Tensor], Tensor]
) -> Tensor | None:
    if not (torch.is_grad_enabled() and weight.requires_grad):
        return None
    return _WeightNode.apply(weight, [operand], shape, gradient)  # type: ignore[no-any-return]


class _Correlate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor | None, weight_node: Tensor | None, weight: list[Tensor], geometry: _Geometry
    ) -> Tensor:
        ctx.save_for_backward(*weight)
        ctx.geometry = geometry
        return _convolution(x, weight[0], bias, geometry)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (grad,), (weight,) = grad_outputs, ctx.saved_tensors
        by_x, by_bias, by_weight = ctx.needs_input_grad[:3]
        return (
            _spread(grad, weight, ctx.geometry) if by_x else None,
            grad.sum(dim=(0, 2, 3)) if by_bias else None,
            grad if by_weight else None,
            None,
            None,
        )


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weight_node: Tensor | None, weight: list[Tensor], geometry: _Geometry) -> Tensor:
        ctx.save_for_backward(*weight)
        ctx.geometry = geometry
        return _transposed_convolution(y, weight[0], geometry)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (grad,), (weight,) = grad_outputs, ctx.saved_tensors
        by_y, by_weight = ctx.needs_input_grad[:2]
        return (
            _correlate(grad, weight, None, ctx.geometry) if by_y else None,
            grad if by_weight else None,
            None,
            None,
        )


class _WeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, geometry: _Geometry) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.geometry = geometry
        dtype = arithmetic_dtype(x)
        return _library(x.to(dtype), y.to(dtype), geometry).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (grad,) = grad_outputs
        x, y = ctx.saved_tensors
        by_x, by_y, _ = ctx.needs_input_grad
        return (
            _spread(y, grad, ctx.geometry) if by_x else None,
            _correlate(x, grad, None, ctx.geometry) if by_y else None,
            None,
        )


def _correlate(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
    if torch.compiler.is_compiling():
        return _convolution(x, weight, bias, geometry)
    shape = [len(x), len(weight), *geometry.y_size()]
    node = _weight_node(weight, x, shape, lambda x, grad: _WeightGradient.apply(x, grad, geometry))
    return _Correlate.apply(x, bias, node, [weight], geometry)  # type: ignore[no-any-return]


def _spread(y: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
    if torch.compiler.is_compiling():
        return _transposed_convolution(y, weight, geometry)
    shape = [len(y), weight.shape[1], *geometry.x_size]
    node = _weight_node(weight, y, shape, lambda y, grad: _WeightGradient.apply(grad, y, geometry))
    return _Spread.apply(y, node, [weight], geometry)  # type: ignore[no-any-return]


def correlate(
    x: Float[Tensor, "n i h w"],
    weight: Float[Tensor, "o i k k"],
    bias: Float[Tensor, " o"] | None = None,
    stride: int = 1,
    padding: int = 0,
) -> Float[Tensor, "n o h2 w2"]:
    """What deep learning calls a convolution, with square weights."""
    return _correlate(x, weight, bias, _Geometry(stride, padding, weight.shape[-1], (x.shape[2], x.shape[3])))


def spread(
    y: Float[Tensor, "n o h w"], weight: Float[Tensor, "o i k k"], stride: int = 1
) -> Float[Tensor, "n i h2 w2"]:
    """The adjoint of `correlate` without padding: each pixel of y adds a multiple of the weights to its place."""
    kernel = weight.shape[-1]
    height, width = ((edge - 1) * stride + kernel for edge in y.shape[2:])
    return _spread(y, weight, _Geometry(stride, 0, kernel, (height, width)))


def _library(x: Tensor, y: Tensor, geometry: _Geometry) -> Tensor:
    kernel, stride, padding = geometry.kernel, geometry.stride, geometry.padding
    if stride > 1 and x.device.type == "cpu" and x.dtype == torch.float32:
        # oneDNN's strided kernel is up to four times faster on its own layout, which it makes of this one only
        x, y = x.contiguous(), y.contiguous()
    weight = x.new_empty([y.shape[1], x.shape[1], kernel, kernel])  # only its size and layout matter
    if x.is_contiguous(memory_format=torch.channels_last):
        weight = weight.to(memory_format=torch.channels_last)
    sizes, no_bias, only_weight = ([stride] * 2, [padding] * 2, [1, 1]), None, [False, True, False]
    return torch.ops.aten.convolution_backward(y, x, weight, no_bias, *sizes, False, [0, 0], 1, only_weight)[1]  # type: ignore[no-any-return]
