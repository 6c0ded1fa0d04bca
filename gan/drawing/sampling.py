"""Drawing images: each seed is one image, independent of batch, rank, order and number of threads."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gan.checkpoints import weights
from gan.networks.generator import Generator
from gan.networks.noise import noise_of_seed, synthesise
from gan.settings import GanSettings
from segkit.core.arrays import Pixels
from segkit.core.determinism import deterministic
from segkit.core.errors import WeightsError


def read_generator(source: Path) -> tuple[GanSettings, Generator]:
    """The averaged generator of a folder of ours or an official `.pkl`, on the CPU, and its settings.

    It computes in fp32 throughout, so images show no rounding of low precision.

    Raises:
        WeightsError: there is none, or it cannot be read.
    """
    if not source.exists():
        raise WeightsError(f"{source} does not exist; give a folder of GAN weights or a .pkl of NVIDIA's")
    stored, networks = weights.read(source, [weights.GENERATOR_EMA])
    settings = stored.model_copy(update={"num_low_precision_resolutions": 0})
    weights.check_networks(settings, networks, str(source))
    generator = Generator(settings)
    generator.load_state_dict(networks[weights.GENERATOR_EMA])
    return settings, generator.requires_grad_(False)


def fastest_device() -> torch.device:
    """A GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def latent(seed: int, z_dim: int) -> Float[Tensor, "1 z_dim"]:
    """The latent of a seed, by NumPy's legacy generator, as for published seeds."""
    return torch.from_numpy(np.random.RandomState(seed).randn(1, z_dim)).float()


@torch.inference_mode()
def styles_of(
    generator: Generator,
    z: Float[Tensor, "1 z_dim"],
    truncation_psi: float = 1.0,
    truncation_cutoff: int | None = None,
) -> Float[Tensor, "1 num_ws w_dim"]:
    """The truncated w of a latent for each layer, on the generator's device."""
    device = generator.mapping.w_avg.device
    with deterministic(device):
        ws: Tensor = generator.mapping(z.to(device), truncation_psi, truncation_cutoff)
    return ws


def styles(
    generator: Generator, seed: int, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
) -> Float[Tensor, "1 num_ws w_dim"]:
    """The truncated w of a seed for each layer, on the generator's device."""
    return styles_of(generator, latent(seed, generator.z_dim), truncation_psi, truncation_cutoff)


@torch.inference_mode()
def draw_styles(
    generator: Generator,
    ws: Float[Tensor, "1 num_ws w_dim"],
    noise_mode: str = "const",
    noise_seed: int | None = None,
) -> Float[Tensor, "c r r"]:
    """Draw one image, float32 in about [-1, 1], on the CPU.

    Images are computed one at a time: in a batch kernels may add in another order, and the image would depend on the
    others.

    Args:
        noise_seed: seed of "random" noise; required in that mode.
    """
    with deterministic(ws.device):
        if noise_mode == "random":
            if noise_seed is None:
                raise ValueError("random noise is drawn from a seed; give noise_seed")
            image_pm1 = synthesise(generator.synthesis, ws, noise_of_seed(generator.synthesis, noise_seed))
        else:
            image_pm1 = generator.synthesis(ws, noise_mode)
    return image_pm1[0].float().cpu()


def draw(
    generator: Generator,
    seed: int,
    truncation_psi: float = 1.0,
    truncation_cutoff: int | None = None,
    noise_mode: str = "const",
) -> Float[Tensor, "c r r"]:
    """Draw the image of a seed, float32 in about [-1, 1], on the CPU."""
    ws = styles(generator, seed, truncation_psi, truncation_cutoff)
    return draw_styles(generator, ws, noise_mode, noise_seed=seed)


def generate(
    generator: Generator,
    seed: int,
    truncation_psi: float = 1.0,
    truncation_cutoff: int | None = None,
    noise_mode: str = "const",
) -> Pixels:
    """Draw the image of a seed as levels (r, r, c)."""
    return levels_8bit(draw(generator, seed, truncation_psi, truncation_cutoff, noise_mode))


def to_uint8(image_pm1: Float[Tensor, "n c r r"]) -> UInt8[Tensor, "n r r c"]:
    """Levels 0-255 from [-1, 1], channels last."""
    return (image_pm1 * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def levels_8bit(image_pm1: Float[Tensor, "c r r"]) -> Pixels:
    """Levels 0-255 (r, r, c) of an image."""
    return to_uint8(image_pm1[None])[0].cpu().numpy()


def levels_16bit(image_pm1: Float[Tensor, "c r r"]) -> npt.NDArray[np.uint16]:
    """Levels 0-65535 (r, r, c) of an image: (x + 1) / 2 of the range, rounded as for 8 bit."""
    levels = (image_pm1.double() * 32767.5 + 32768).clamp(0, 65535).cpu().numpy()
    return np.ascontiguousarray(np.moveaxis(levels, 0, 2)).astype(np.uint16)


def sample_grid(images: Sequence[Pixels], num_columns: int | None = None) -> Pixels:
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
