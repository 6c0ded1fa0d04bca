"""torch.compile for the main phases; phases that differentiate twice run under the stance "force_eager"."""

import torch
import torch._dynamo.config
from torch import nn

from segkit.core.errors import RequestError


def compile_when_called(*networks: nn.Module) -> None:
    """Compile each network at its first call, and again for another batch size or gradient mode."""
    # graphs need not be cut for Lightning's DDP: the task averages all gradients at once
    torch._dynamo.config.optimize_ddp = False
    for network in networks:
        network.compile(dynamic=False)


def check_compiler(device: torch.device) -> None:
    """Compile one addition.

    Raises:
        RequestError: there is no compiler for this device.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(16, device=device))
    except RuntimeError as error:
        reason = str(getattr(error, "inner_exception", error)).partition("\n")[0]
        raise RequestError(
            f"gan.torch_compile is on and torch.compile fails here ({reason}); install a C++ compiler, for GPUs also "
            "Triton, or set it to false"
        ) from error
