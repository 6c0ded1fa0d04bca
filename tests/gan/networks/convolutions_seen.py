"""Which convolutions run, whoever asked for them."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Seen(TorchDispatchMode):
    """Notes the kernels of the convolutions that run, how often one is differentiated, and how often by weights."""

    def __init__(self):
        super().__init__()
        self.kernels, self.gradients, self.weight_gradients = set(), 0, 0

    @property
    def largest_kernel(self):
        return max(max(size) for size in self.kernels)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function == torch.ops.aten.convolution.default:
            self.kernels.add(tuple(args[1].shape[2:]))
        if function == torch.ops.aten.convolution_backward.default:
            self.gradients += 1
            self.weight_gradients += args[-1][1]
        return function(*args, **(kwargs or {}))
