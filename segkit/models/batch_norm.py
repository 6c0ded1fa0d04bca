"""Batch norm over the global batch, in one process or several; and its removal for prediction.

`torch.nn.SyncBatchNorm` does the same on GPUs, and Lightning puts it in this layer's place there; it refuses CPUs.
"""

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from segkit.models.dropblock import DropBlock2d
from segkit.models.ranks import rank_and_world_size


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, with the batch norms that follow a convolution multiplied into its weights.

    The network is changed. Logits are the same up to rounding; a pass over every feature map is saved. Only neighbours
    in an `nn.Sequential` are folded, and no convolution with spectral norm.
    """
    network.eval()
    for block in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        names = [name for name, module in block.named_children() if not isinstance(module, DropBlock2d)]
        for first, second in pairwise(names):
            conv, norm = block.get_submodule(first), block.get_submodule(second)
            if type(conv) is nn.Conv2d and isinstance(norm, nn.BatchNorm2d):
                setattr(block, first, fuse_conv_bn_eval(conv, norm))
                setattr(block, second, nn.Identity())
    return network


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that trains with the mean and variance over the images of all ranks.

    Output, gradient and running statistics equal those of one process with the whole batch, up to rounding; ranks may
    hold different numbers of images. With one rank it equals `nn.BatchNorm2d`; its state dict always does.
    """

    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        _, world_size = rank_and_world_size()
        if not self.training or world_size == 1:
            return super().forward(features)
        with torch.no_grad():
            mean, var, count = self._global_moments(features, world_size)
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            unbiased = var * count.div(count - 1).to(var.dtype)  # as nn.BatchNorm2d keeps it
            self.running_var.lerp_(unbiased, self.momentum)
        normalised: Tensor = _Normalise.apply(features, self.weight, self.bias, mean, var, count, self.eps)
        return normalised

    def _global_moments(
        self, features: Float[Tensor, "n c h w"], world_size: int
    ) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"], Float[Tensor, ""]]:
        """Mean and biased variance of each channel, and the number of its values, over all ranks."""
        # With momentum 0 the running statistics are unchanged; they only determine the type of the sums.
        mean, var = torch.batch_norm_update_stats(features, self.running_mean, self.running_var, 0.0)
        count = mean.new_full((1,), features.numel() // self.num_features, dtype=torch.float64)
        local = torch.cat([count, mean.double(), var.double()])
        gathered = [torch.empty_like(local) for _ in range(world_size)]
        distributed.all_gather(gathered, local)
        counts, means, variances = torch.stack(gathered).split([1, self.num_features, self.num_features], dim=1)
        # Chan 1983, "Algorithms for computing the sample variance", Eq. 2.1, for any number of parts
        total = counts.sum()
        global_mean = (counts * means).sum(0) / total
        global_var = (counts * (variances + (means - global_mean) ** 2)).sum(0) / total
        return global_mean.to(mean.dtype), global_var.to(mean.dtype), total


class _Normalise(torch.autograd.Function):
    """Normalise by the global moments; the gradient also passes through them, to the features of every rank."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        var: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(features, weight, mean, var, count)
        ctx.eps = eps
        return F.batch_norm(features, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, mean, var, count = ctx.saved_tensors
        # With fixed moments: grad * scale, sum of grad * normalised, sum of grad.
        grad_features, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad, features, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.cat([grad_weight, grad_bias]).double()
        distributed.all_reduce(sums)
        mean_weight, mean_bias = (sums / count).to(mean.dtype).chunk(2)
        # Through the moments: -scale * (mean of grad + normalised * mean of grad * normalised); Ioffe 2015, section 3.
        inverse_std = (var + ctx.eps).rsqrt()
        scale = weight * inverse_std
        slope = scale * inverse_std * mean_weight
        offset = scale * mean_bias - slope * mean
        grad_features -= features * slope[:, None, None] + offset[:, None, None]
        # Those of weight and bias stay local: DDP adds up every parameter's.
        return grad_features, grad_weight, grad_bias, None, None, None, None
