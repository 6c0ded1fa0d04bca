"""Settings of the GAN and the papers' presets; imports no torch, so that showing them is fast."""

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from segkit.core.config import Settings

PresetName = Literal["auto", "stylegan2", "paper256", "paper512", "paper1024"]
AugmentTransforms = Literal["blit", "geom", "blit-geom", "fundus"]

# Karras 2020b, Table 4 and the rule of thumb that came with it. Columns: images per iteration, group size of the
# minibatch statistic, channel_base / 32768, learning rate, R1 gamma, EMA half-life (kimg), EMA ramp-up, mapping layers.
_COLUMNS = (
    "batch_size",
    "mbstd_group_size",
    "channel_base",
    "learning_rate",
    "r1_gamma",
    "ema_kimg",
    "ema_rampup",
    "num_mapping_layers",
)
_PAPER: dict[str, tuple[Any, ...]] = {
    "stylegan2": (32, 4, 32768, 0.002, 10.0, 10.0, None, 8),
    "paper256": (64, 8, 16384, 0.0025, 1.0, 20.0, None, 8),
    "paper512": (64, 8, 32768, 0.0025, 0.5, 20.0, None, 8),
    "paper1024": (32, 4, 32768, 0.002, 2.0, 10.0, None, 8),
}


def auto_r1_gamma(resolution: int, batch_size: int) -> float:
    """R1 weight by the rule of thumb of Karras 2020b: 0.0002 resolution^2 / batch size."""
    return 0.0002 * resolution**2 / batch_size


def auto_ema_kimg(batch_size: int) -> float:
    """EMA half-life in kimg by the rule of thumb: 10 kimg for each 32 images of batch."""
    return batch_size * 10 / 32


def preset(name: str, resolution: int, batch_size: int | None = None) -> dict[str, Any]:
    """Settings of a named preset, every one of which a user may override.

    Args:
        name: `auto` (rule of thumb for one GPU), `stylegan2` or one of the paper's `paper256`, `paper512`, `paper1024`.
        resolution: edge of the images in pixels; only `auto` depends on it.
        batch_size: global images per iteration; None takes the preset's own. `auto` derives gamma and EMA from it.
    """
    if name in _PAPER:
        values = dict(zip(_COLUMNS, _PAPER[name], strict=True))
        return values if batch_size is None else values | {"batch_size": batch_size}
    if name != "auto":
        raise ValueError(f"no preset {name!r}; there are auto, {', '.join(_PAPER)}")
    batch_size = batch_size or max(min(4096 // resolution, 32), 1)
    row = (
        batch_size,
        math.gcd(batch_size, 4),
        32768 if resolution >= 512 else 16384,
        0.002 if resolution >= 1024 else 0.0025,
        auto_r1_gamma(resolution, batch_size),
        auto_ema_kimg(batch_size),
        0.05,
        2,
    )
    return dict(zip(_COLUMNS, row, strict=True))


def presets_with(resolution: int, channel_base: int, num_mapping_layers: int) -> list[str]:
    """Presets whose networks have these sizes; only `auto` depends on the resolution."""
    wanted = {"channel_base": channel_base, "num_mapping_layers": num_mapping_layers}
    return [name for name in ("auto", *_PAPER) if wanted.items() <= preset(name, resolution).items()]


def _never() -> Any:
    raise AssertionError("filled in by GanSettings._fill_from_preset")


_FROM_PRESET: Any = Field(default_factory=_never)


class GanSettings(Settings):
    """A StyleGAN2-ADA: networks, training, augmentation. Fields left out follow `preset`."""

    preset: PresetName | None = None
    """Fills the fields that are not given. None: the full-size network with 8 mapping layers, gamma and EMA by rule."""

    resolution: Literal[8, 16, 32, 64, 128, 256, 512, 1024] = 256
    """Edge of the square images in pixels, a power of two."""
    image_channels: int = Field(3, ge=1, le=4)
    """3 for RGB, 1 for gray; up to 4."""
    batch_size: int = Field(default_factory=_never, ge=1, le=4096)
    """Images per iteration over all devices together, so that the number of devices does not change the result."""
    images_per_pass: int | None = Field(None, ge=1)
    """Most images one device takes at once; a larger share is accumulated. None: the device's whole share."""

    channel_base: int = Field(default_factory=_never, ge=16)
    """Feature maps at resolution r: min(channel_base / r, channel_max). 32768 is the full-size network."""
    channel_max: int = Field(512, ge=4, le=512)
    """Most feature maps in any layer."""
    num_mapping_layers: int = Field(default_factory=_never, ge=1, le=16)
    """Fully connected layers from z to w; NVIDIA's published networks have 8."""
    z_dim: int = Field(512, ge=1)
    """Size of the latent z."""
    w_dim: int = Field(512, ge=1)
    """Size of the intermediate latent w."""
    conv_clamp: float | None = Field(256.0, gt=0)
    """Activations are held within +- this, which low precision needs; None never clamps."""
    num_low_precision_resolutions: int = Field(0, ge=0)
    """How many of the highest resolutions compute in `low_precision`; 0 is fp32 throughout."""
    low_precision: Literal["bf16"] = "bf16"
    """Number format of those resolutions."""

    kimg: float = Field(1000.0, gt=0)
    """Length of the training: thousands of real images shown to the discriminator."""
    learning_rate: float = Field(default_factory=_never, gt=0)
    """Adam's step for both networks, before the correction for lazy regularisation."""
    r1_gamma: float = Field(default_factory=_never, ge=0)
    """Weight of the gradient penalty on real images; larger is more stable and less sharp."""
    r1_interval: int = Field(16, ge=1)
    """Iterations between two R1 steps (lazy regularisation)."""
    pl_weight: float = Field(2.0, ge=0)
    """Weight of the path-length penalty; 0 leaves it out."""
    pl_interval: int = Field(4, ge=1)
    """Iterations between two path-length steps."""
    pl_batch_shrink: int = Field(2, ge=1)
    """The path-length step uses this fraction of the batch, as it needs more memory."""
    style_mixing_prob: float = Field(0.9, ge=0, le=1)
    """Chance that a batch draws its upper layers' styles from second latents."""
    train_noise: Literal["random", "const"] = "random"
    """Per-pixel noise during training; `const` is for experiments that must not depend on it."""
    mbstd_group_size: int = Field(default_factory=_never, ge=1)
    """Images compared by the minibatch standard deviation; must divide each pass's images."""
    ema_kimg: float = Field(default_factory=_never, ge=0)
    """Half-life of the generator's running average, in kimg."""
    ema_rampup: float | None = Field(default_factory=_never, ge=0)
    """Shortens the half-life to this share of the images seen so far; None for none (right when fine-tuning)."""

    augment: Literal["none", "fixed", "ada"] = "ada"
    """Augmentation of what the discriminator sees: none, with a fixed chance, or with the adaptive one."""
    augment_transforms: AugmentTransforms = "blit-geom"
    """Which transforms: `blit` (flips, quarter turns, whole-pixel shifts), `geom` (scale, turn, stretch, shift), both,
    or `fundus` (mirror, slight shift, turn and scale: what a fundus photograph can undergo)."""
    augment_p: float = Field(0.0, ge=0, le=1)
    """Chance of each transform: the fixed one, or where the adaptive one starts."""
    ada_target: float = Field(0.6, ge=-1, le=1)
    """Wanted overfitting r_t = E[sign D(real)]."""
    ada_interval: int = Field(4, ge=1)
    """Iterations between two adjustments of the chance."""
    ada_ramp_kimg: float = Field(500.0, gt=0)
    """Thousands of images in which the chance can go from 0 to 1; 100 is usual when fine-tuning."""

    x_flips: bool = False
    """Add each image's mirror image to the data. With images of both eyes it invents none and costs nothing."""
    fit: Literal["pad", "crop", "squash"] = "pad"
    """How a non-square image becomes square: black borders, centre crop, or stretching."""
    freeze_d: int = Field(0, ge=0)
    """How many of the discriminator's layers, from the highest resolution down, keep their weights (Mo 2020)."""
    init_from: Path | None = None
    """Weights to start from: a folder of them, or a `.pkl` snapshot of NVIDIA's PyTorch code."""

    snapshot_kimg: float = Field(50.0, gt=0)
    """Thousands of images between two sample grids."""
    num_sample_grid: int = Field(16, ge=1)
    """Images in a sample grid."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        name, resolution, batch_size = raw.get("preset"), raw.get("resolution", 256), raw.get("batch_size")
        if not isinstance(resolution, int) or resolution < 1:
            resolution = 256  # the field's own check reports it
        if not isinstance(batch_size, int) or batch_size < 1:
            batch_size = None
        values = preset(name if name in _PAPER else "auto", resolution, batch_size)
        if name is None:
            values |= {"channel_base": 32768, "num_mapping_layers": 8}
        return values | raw

    @model_validator(mode="after")
    def _check(self) -> "GanSettings":
        if self.batch_size % self.mbstd_group_size:
            raise ValueError(f"mbstd_group_size {self.mbstd_group_size} does not divide batch_size {self.batch_size}")
        if self.pl_weight > 0 and self.batch_size % self.pl_batch_shrink:
            raise ValueError(f"pl_batch_shrink {self.pl_batch_shrink} does not divide batch_size {self.batch_size}")
        if self.num_low_precision_resolutions > int(math.log2(self.resolution)) - 1:
            raise ValueError(
                f"num_low_precision_resolutions {self.num_low_precision_resolutions} exceeds the "
                f"{int(math.log2(self.resolution)) - 1} resolutions from 4 to {self.resolution}"
            )
        return self


class SamplingSettings(Settings):
    """How images are drawn from a trained generator."""

    truncation_psi: float = Field(0.7, ge=-2, le=2)
    """1 samples all of W, 0 only the mean image."""
    truncation_cutoff: int | None = Field(None, ge=0)
    """Truncate only this many of the first styles; None truncates all."""
    noise_mode: Literal["const", "none"] = "const"
    """Per-pixel noise: the one learnt with the network, or none. Both keep one seed one image."""


def max_steps(settings: GanSettings) -> int:
    """Iterations that show the discriminator `kimg` thousand real images; the Trainer's `max_steps`."""
    return math.ceil(settings.kimg * 1000 / settings.batch_size)


def snapshot_steps(settings: GanSettings) -> int:
    """Iterations between two snapshots."""
    return max(1, round(settings.snapshot_kimg * 1000 / settings.batch_size))
