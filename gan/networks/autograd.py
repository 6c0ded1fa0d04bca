"""Types for custom autograd functions, whose contexts torch leaves untyped."""

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.autograd.function import FunctionCtx

Gradients = tuple[Tensor | None, ...]
"""What `backward` returns: the gradient of each argument of `forward`, or None."""

if TYPE_CHECKING:

    class Context(FunctionCtx):
        """Carries values from `forward` to `backward`."""

        saved_tensors: tuple[Tensor, ...]
        needs_input_grad: tuple[bool, ...]
        options: Any  # values that are not tensors, of another type in each function
else:
    Context = FunctionCtx
