"""Drawing images: one seed is one image, whatever the batch, rank or order."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gan.generator import Generator
from segkit.tasks.threads import one_thread


def latent(seed: int, z_dim: int) -> Float[Tensor, "1 z_dim"]:
    """The latent of a seed, by NumPy's legacy generator as everyone's published seeds assume."""
    return torch.from_numpy(np.random.RandomState(seed).randn(1, z_dim)).float()


def to_uint8(image_pm1: Float[Tensor, "n c r r"]) -> UInt8[Tensor, "n r r c"]:
    """Levels 0-255 from [-1, 1], channels last."""
    return (image_pm1 * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@torch.inference_mode()
def generate(
    generator: Generator,
    seed: int,
    truncation_psi: float = 1.0,
    truncation_cutoff: int | None = None,
    noise_mode: str = "const",
) -> npt.NDArray[np.uint8]:
    """Draw the image (r, r, c) of a seed.

    Images go through the network one at a time and, on a CPU, in one thread: otherwise kernels may add in another
    order, and the image of a seed would depend on its neighbours or on the machine's cores.
    """
    device = generator.mapping.w_avg.device
    z = latent(seed, generator.z_dim).to(device)
    with one_thread(device):
        image_pm1 = generator(z, truncation_psi, truncation_cutoff, noise_mode)
    return to_uint8(image_pm1.float())[0].cpu().numpy()


def sample_grid(images: Sequence[npt.NDArray[np.uint8]], num_columns: int | None = None) -> npt.NDArray[np.uint8]:
    """Lay images (r, r, c) out row by row, about as wide as high; empty places stay black.

    Returns:
        (h, w, 3), or (h, w, c) for c other than 1.
    """
    columns = num_columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    edge, _, channels = images[0].shape
    grid = np.zeros((rows, columns, edge, edge, channels), dtype=np.uint8)
    for i, image in enumerate(images):
        grid[divmod(i, columns)] = image
    flat = grid.swapaxes(1, 2).reshape(rows * edge, columns * edge, channels)
    return np.repeat(flat, 3, axis=2) if channels == 1 else flat
