"""Kernels by torch.compile for the main phases; what differentiates twice runs under the stance "force_eager"."""

import torch
import torch._dynamo.config
from torch import nn

from segkit.core.errors import RequestError


def compile_when_called(*networks: nn.Module) -> None:
    """Let the first call of each network compile it, and each later call of another kind (gradients, batch)."""
    # Lightning's DDP would have the graphs cut where it sends gradients; ours are sent by the training, all at once
    torch._dynamo.config.optimize_ddp = False
    for network in networks:
        network.compile(dynamic=False)


def check_compiler(device: torch.device) -> None:
    """Compile a trifle.

    Raises:
        RequestError: there is no compiler for this device.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(16, device=device))
    except RuntimeError as error:
        reason = str(getattr(error, "inner_exception", error)).partition("\n")[0]
        raise RequestError(
            f"gan.torch_compile is on and torch.compile fails here ({reason}); install a C++ compiler, for GPUs also "
            "Triton, or leave it off"
        ) from error
