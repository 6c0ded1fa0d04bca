"""The generator: z -> w by the mapping network, w -> image by the skip synthesis network (Karras 2020a, Fig. 7b)."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan.networks.layers import FAST_LAYERS, LayerTypes, SynthesisLayer
from gan.networks.ops import fir_kernel
from gan.settings import GanSettings


def resolutions_to(resolution: int) -> list[int]:
    """4, 8, ..., resolution."""
    return [2**i for i in range(2, int(math.log2(resolution)) + 1)]


def num_channels(resolution: int, channel_base: int, channel_max: int) -> int:
    """Feature maps at a resolution."""
    return min(channel_base // resolution, channel_max)


def low_dtype(resolution: int, settings: GanSettings) -> torch.dtype | None:
    """`low_precision` in the highest `num_low_precision_resolutions` resolutions; None, the weights' own, below."""
    highest = resolutions_to(settings.resolution)[::-1][: settings.num_low_precision_resolutions]
    if resolution not in highest:
        return None
    return torch.float16 if settings.low_precision == "fp16" else torch.bfloat16


class MappingNetwork(nn.Module):
    """Latent z to intermediate latent w; it also holds the running mean of w for truncation."""

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        num_ws: int,
        num_layers: int = 8,
        w_avg_beta: float = 0.995,
        layers: LayerTypes = FAST_LAYERS,
    ) -> None:
        super().__init__()
        self.num_ws, self.num_layers, self.w_avg_beta = num_ws, num_layers, w_avg_beta
        for i in range(num_layers):
            in_features = z_dim if i == 0 else w_dim
            layer = layers.fully_connected(in_features, w_dim, activation="lrelu", lr_multiplier=0.01)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def map(self, z: Float[Tensor, "n z_dim"]) -> Float[Tensor, "n w_dim"]:
        """w of each z; z is first scaled to unit second moment."""
        x = z.to(self.w_avg.dtype)
        x = x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x

    @torch.no_grad()
    def update_w_avg(self, w_mean: Float[Tensor, " w_dim"]) -> None:
        """Move the running mean towards a batch's mean w."""
        self.w_avg.lerp_(w_mean, 1 - self.w_avg_beta)

    def broadcast(self, w: Float[Tensor, "n w_dim"]) -> Float[Tensor, "n num_ws w_dim"]:
        """The same w for every layer."""
        return w[:, None].expand(-1, self.num_ws, -1)

    def forward(
        self, z: Float[Tensor, "n z_dim"], truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> Float[Tensor, "n num_ws w_dim"]:
        """One w per layer; `truncation_psi` < 1 moves the first `truncation_cutoff` (None: all) towards the mean."""
        ws = self.broadcast(self.map(z))
        if truncation_psi == 1:
            return ws
        cutoff = self.num_ws if truncation_cutoff is None else truncation_cutoff
        truncated = self.w_avg.lerp(ws[:, :cutoff], truncation_psi)
        return torch.cat([truncated, ws[:, cutoff:]], dim=1)


class SynthesisBlock(nn.Module):
    """All layers of one resolution; adds its image to the upsampled image of the block below."""

    resample_filter: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, resolution: int, settings: GanSettings, layers: LayerTypes
    ) -> None:
        super().__init__()
        self.in_channels, self.resolution = in_channels, resolution
        self.upsample = layers.upsample
        self.low_dtype = low_dtype(resolution, settings)
        w_dim, clamp = settings.w_dim, settings.conv_clamp
        self.register_buffer("resample_filter", fir_kernel())
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = layers.synthesis(in_channels, out_channels, w_dim, resolution, up=2, clamp=clamp)
        self.conv1 = layers.synthesis(out_channels, out_channels, w_dim, resolution, clamp=clamp)
        self.torgb = layers.to_rgb(out_channels, settings.image_channels, w_dim, clamp=clamp)

    @property
    def num_conv(self) -> int:
        """Number of styles of the convolutions; `torgb` uses the next style, which the next block shares."""
        return 1 if self.in_channels == 0 else 2

    def forward(
        self,
        x: Float[Tensor, "n i h w"] | None,
        image_pm1: Float[Tensor, "n c h w"] | None,
        ws: Float[Tensor, "n k w_dim"],
        noise: Sequence[str | Tensor],
    ) -> tuple[Float[Tensor, "n o r r"], Float[Tensor, "n c r r"]]:
        layer_ws, layer_noise = iter(ws.unbind(dim=1)), iter(noise)
        dtype = self.low_dtype or self.conv1.weight.dtype
        if x is None:
            x = self.const.to(dtype).expand(len(ws), -1, -1, -1)
        else:
            x = self.conv0(x.to(dtype), next(layer_ws), next(layer_noise))
        x = self.conv1(x, next(layer_ws), next(layer_noise))
        rgb = self.torgb(x, next(layer_ws)).to(ws.dtype)
        return x, rgb if image_pm1 is None else self.upsample(image_pm1, self.resample_filter) + rgb


class SynthesisNetwork(nn.Module):
    """Blocks b4, b8, ... up to the image's resolution."""

    def __init__(self, settings: GanSettings, layers: LayerTypes = FAST_LAYERS) -> None:
        super().__init__()
        self.resolutions = resolutions_to(settings.resolution)
        self.num_ws = 2 * len(self.resolutions)
        in_channels = 0
        for resolution in self.resolutions:
            out_channels = num_channels(resolution, settings.channel_base, settings.channel_max)
            self.add_module(f"b{resolution}", SynthesisBlock(in_channels, out_channels, resolution, settings, layers))
            in_channels = out_channels
        self.noise_sizes = [layer.resolution**2 for layer in self.modules() if isinstance(layer, SynthesisLayer)]
        """Pixels of each layer's noise, from low to high resolution."""

    def forward(
        self, ws: Float[Tensor, "n num_ws w_dim"], noise: str | Float[Tensor, "n p"] = "const"
    ) -> Float[Tensor, "n c r r"]:
        """Image in about [-1, 1].

        Args:
            noise: "const" for the noise stored with the network, "none", or standard normal numbers: a row for each
                image with `noise_sizes` numbers of the layers in order.
        """
        layer_noise: Sequence[str | Tensor]
        if isinstance(noise, Tensor):
            layer_noise = noise.split(self.noise_sizes, dim=1)
        elif noise in ("const", "none"):
            layer_noise = [noise] * len(self.noise_sizes)
        else:
            raise ValueError(f"noise is {noise!r}; give 'const', 'none' or a tensor of noise for each image")
        x: Tensor | None = None
        image_pm1: Tensor | None = None
        first = 0
        for resolution in self.resolutions:
            block = self.get_submodule(f"b{resolution}")
            assert isinstance(block, SynthesisBlock)
            end = first + block.num_conv
            x, image_pm1 = block(x, image_pm1, ws[:, first : end + 1], layer_noise[first:end])
            first = end
        assert image_pm1 is not None
        return image_pm1


class Generator(nn.Module):
    """Mapping and synthesis network together."""

    def __init__(self, settings: GanSettings, layers: LayerTypes = FAST_LAYERS) -> None:
        super().__init__()
        self.z_dim = settings.z_dim
        self.synthesis = SynthesisNetwork(settings, layers)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(
            settings.z_dim, settings.w_dim, self.num_ws, settings.num_mapping_layers, layers=layers
        )
        self.to(memory_format=layers.memory_format)  # type: ignore[call-overload]

    def forward(
        self,
        z: Float[Tensor, "n z_dim"],
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "const",
    ) -> Float[Tensor, "n c r r"]:
        """Image in about [-1, 1]; `noise_mode` is "const" or "none"."""
        image_pm1: Tensor = self.synthesis(self.mapping(z, truncation_psi, truncation_cutoff), noise_mode)
        return image_pm1
