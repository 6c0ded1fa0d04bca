"""Settings of the GAN and the papers' presets; imports no torch, so showing them is fast."""

import math
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import Field, model_validator

from segkit.core.config import Settings

PresetName = Literal["auto", "stylegan2", "paper256", "paper512", "paper1024", "cifar", "fundus256", "fundus512"]
AugmentTransforms = Literal[
    "blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc", "fundus"
]

_COLOR_TRANSFORMS = {"color", "bgc", "bgcf", "bgcfn", "bgcfnc"}


def _row(
    resolution: int | None,
    batch_size: int,
    mbstd_group_size: int,
    channel_base: int,
    learning_rate: float,
    r1_gamma: float,
    ema_kimg: float,
    ema_rampup: float | None,
    num_mapping_layers: int,
    **others: Any,
) -> dict[str, Any]:
    return {key: value for key, value in locals().items() if key != "others"} | others


# Karras 2020b, Table 4; augmentation with blit, geom and color as there, and the papers' lengths.
_PAPER: dict[str, Any] = {"augment_transforms": "bgc", "kimg": 25000}
_PRESETS: dict[str, dict[str, Any]] = {
    "stylegan2": _row(None, 32, 4, 32768, 0.002, 10.0, 10.0, None, 8, **_PAPER),
    "paper256": _row(256, 64, 8, 16384, 0.0025, 1.0, 20.0, None, 8, **_PAPER),
    "paper512": _row(512, 64, 8, 32768, 0.0025, 0.5, 20.0, None, 8, **_PAPER),
    "paper1024": _row(1024, 32, 4, 32768, 0.002, 2.0, 10.0, None, 8, **_PAPER),
    "cifar": _row(
        *(32, 64, 32, 32768, 0.0025, 0.01, 500.0, 0.05, 2),
        pl_weight=0.0,
        style_mixing_prob=0.0,
        d_architecture="orig",
        **_PAPER | {"kimg": 100000},
    ),
}
# Ours, for some twenty photographs. The batch is fixed and split into passes, so one GPU computes the same as eight.
# The networks have the sizes of those that NVIDIA publishes for FFHQ, to start from them.
_FUNDUS: dict[str, object] = {
    "augment_transforms": "fundus",
    "ada_ramp_kimg": 100.0,
    "x_flips": True,
    "kimg": 1000.0,
}
_PRESETS |= {
    "fundus256": _row(256, 32, 4, 16384, 0.0025, 1.0, 10.0, None, 8, images_per_pass=16, **_FUNDUS),
    "fundus512": _row(512, 32, 4, 32768, 0.0025, 2.0, 10.0, None, 8, images_per_pass=8, **_FUNDUS),
}


def auto_r1_gamma(resolution: int, batch_size: int) -> float:
    """R1 weight by the rule of thumb of Karras 2020b: 0.0002 resolution^2 / batch size."""
    return 0.0002 * resolution**2 / batch_size


def auto_ema_kimg(batch_size: int) -> float:
    """EMA half-life in kimg by the rule of thumb: 10 kimg for each 32 images of batch."""
    return batch_size * 10 / 32


def preset(name: str, resolution: int | None = None, batch_size: int | None = None) -> dict[str, Any]:
    """Settings of a named preset, every one of which a user may override.

    Args:
        name: `auto` (rule of thumb for one GPU), the papers' `stylegan2`, `paper256`, `paper512`, `paper1024` and
            `cifar`, or `fundus256` and `fundus512` for a few photographs.
        resolution: edge of the images in pixels; None takes the preset's own, or 256.
        batch_size: global images per iteration; None takes the preset's own. `auto` derives gamma and EMA from it.
    """
    if name == "auto":
        values = _rule_of_thumb(resolution or 256, batch_size) | _PAPER
        return values | {"num_low_precision_resolutions": _num_low_precision(values["resolution"])}
    if name not in _PRESETS:
        raise ValueError(f"no preset {name!r}; there are auto, {', '.join(_PRESETS)}")
    values = dict(_PRESETS[name])
    values["resolution"] = resolution or values["resolution"] or 256
    values["num_low_precision_resolutions"] = _num_low_precision(values["resolution"])
    if batch_size is not None:
        values["batch_size"] = batch_size
        values["mbstd_group_size"] = math.gcd(batch_size, values["mbstd_group_size"])
        if "images_per_pass" in values:
            values["images_per_pass"] = min(values["images_per_pass"], batch_size)
    return values


def _rule_of_thumb(resolution: int, batch_size: int | None) -> dict[str, Any]:
    batch_size = batch_size or max(min(4096 // resolution, 32), 1)
    return _row(
        resolution,
        batch_size,
        math.gcd(batch_size, 4),
        32768 if resolution >= 512 else 16384,
        0.002 if resolution >= 1024 else 0.0025,
        auto_r1_gamma(resolution, batch_size),
        auto_ema_kimg(batch_size),
        0.05,
        2,
    )


def _num_low_precision(resolution: int) -> int:
    """Number of resolutions in low precision: the highest four, or all if there are fewer."""
    return min(4, int(math.log2(resolution)) - 1)


def presets_with(
    resolution: int, channel_base: int, num_mapping_layers: int, d_architecture: str = "resnet"
) -> list[str]:
    """Presets for this resolution, or for any, whose networks have these sizes."""
    sizes = {"channel_base": channel_base, "num_mapping_layers": num_mapping_layers, "d_architecture": d_architecture}
    usual = {"d_architecture": "resnet"}
    names = [name for name in ("auto", *_PRESETS) if _PRESETS.get(name, usual).get("resolution") in (None, resolution)]
    return [name for name in names if sizes.items() <= (usual | preset(name, resolution)).items()]


def _never() -> NoReturn:
    raise AssertionError("filled in by GanSettings._fill_from_preset")


class GanSettings(Settings):
    """A StyleGAN2-ADA: networks, training, augmentation. Fields left out follow `preset`."""

    preset: PresetName | None = None
    """Fills the fields that are not given, resolution included. None: the full-size network with 8 mapping layers,
    gamma and EMA by rule."""

    resolution: Literal[8, 16, 32, 64, 128, 256, 512, 1024] = 256
    """Edge of the square images in pixels, a power of two."""
    image_channels: int = Field(3, ge=1, le=4)
    """3 for RGB, 1 for gray; up to 4."""
    batch_size: int = Field(default_factory=_never, ge=1, le=4096)
    """Images per iteration over all devices together, so that the number of devices does not change the result."""
    images_per_pass: int | None = Field(None, ge=1)
    """Maximum number of images in one pass of a device; gradients of passes are accumulated. None: the whole share."""

    channel_base: int = Field(default_factory=_never, ge=16)
    """Feature maps at resolution r: min(channel_base / r, channel_max). 32768 is the full-size network."""
    channel_max: int = Field(512, ge=4, le=512)
    """Maximum number of feature maps in a layer."""
    num_mapping_layers: int = Field(default_factory=_never, ge=1, le=16)
    """Fully connected layers from z to w; NVIDIA's published networks have 8."""
    z_dim: int = Field(512, ge=1, le=4096)
    """Size of the latent z."""
    w_dim: int = Field(512, ge=1, le=4096)
    """Size of the intermediate latent w."""
    conv_clamp: float | None = Field(256.0, gt=0)
    """Activations are held within +- this, which low precision needs; None never clamps."""
    num_low_precision_resolutions: int = Field(0, ge=0)
    """How many of the highest resolutions compute in `low_precision`; 0 is fp32 throughout."""
    low_precision: Literal["bf16", "fp16"] = "bf16"
    """Number format of those resolutions; fp16 has more digits and needs `conv_clamp`."""
    torch_compile: bool = False
    """Compile the main phases with torch.compile, which takes some minutes at the start; `segkit bench gan --compile`
    measures the gain. The regularisation phases, which differentiate twice, are not compiled."""
    d_architecture: Literal["resnet", "orig"] = "resnet"
    """The discriminator's blocks: with a skip path, or plain as the paper's for CIFAR-10."""

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
    """Augmentation of the discriminator's images: none, with a fixed chance, or with an adaptive one."""
    augment_transforms: AugmentTransforms = "bg"
    """Which transforms: `blit` (flips, quarter turns, whole-pixel shifts), `geom` (scale, turn, stretch, shift),
    `color`, `filter` (frequency bands), `noise`, `cutout`; their combinations by first letters, as in `bgc`; or
    `fundus` (mirror, slight shift, turn and scale: what a fundus photograph can undergo)."""
    augment_p: float = Field(0.0, ge=0, le=1)
    """Chance of each transform: the fixed one, or where the adaptive one starts."""
    ada_target: float = Field(0.6, ge=-1, le=1)
    """Target of the overfitting r_t = E[sign D(real)]."""
    ada_interval: int = Field(4, ge=1)
    """Iterations between two adjustments of the chance."""
    ada_ramp_kimg: float = Field(500.0, gt=0)
    """Thousands of images in which the chance can go from 0 to 1; 100 is usual when fine-tuning."""

    x_flips: bool = False
    """Add each image's mirror image to the data. Left and right eyes mirror each other, so these are realistic."""
    fit: Literal["pad", "crop", "squash"] = "pad"
    """How a non-square image becomes square: black borders, centre crop, or stretching."""
    freeze_d: int = Field(0, ge=0)
    """How many of the discriminator's layers, from the highest resolution down, keep their weights (Mo 2020)."""
    init_from: Path | None = None
    """Weights to start from: a folder of them, or a `.pkl` snapshot of NVIDIA's PyTorch code."""
    init_adapt: tuple[Literal["resolution", "image_channels"], ...] = ()
    """Settings in which the weights of `init_from` may differ: they are then adapted, and layers without a counterpart
    are initialised anew. Any other difference stops the run."""

    snapshot_kimg: float = Field(50.0, gt=0)
    """Thousands of images between two snapshots: a sample grid and the averaged generator."""
    num_sample_grid: int = Field(16, ge=1)
    """Images in a sample grid."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, raw: object) -> object:
        if not isinstance(raw, dict):
            return raw
        name, resolution, batch_size = raw.get("preset"), raw.get("resolution"), raw.get("batch_size")
        if not isinstance(resolution, int) or resolution < 4:
            resolution = None  # the field's own check reports it
        if not isinstance(batch_size, int) or batch_size < 1:
            batch_size = None
        if name in ("auto", *_PRESETS):
            values = preset(name, resolution, batch_size)
        else:
            values = _rule_of_thumb(resolution or 256, batch_size) | {"channel_base": 32768, "num_mapping_layers": 8}
        return values | raw

    @model_validator(mode="after")
    def _check(self) -> "GanSettings":
        if self.batch_size % self.mbstd_group_size:
            raise ValueError(f"mbstd_group_size {self.mbstd_group_size} does not divide batch_size {self.batch_size}")
        if self.images_per_pass and self.images_per_pass % self.mbstd_group_size:
            raise ValueError(
                f"images_per_pass {self.images_per_pass} is no multiple of mbstd_group_size {self.mbstd_group_size}"
            )
        if self.pl_weight > 0 and self.batch_size % self.pl_batch_shrink:
            raise ValueError(f"pl_batch_shrink {self.pl_batch_shrink} does not divide batch_size {self.batch_size}")
        if self.augment_transforms in _COLOR_TRANSFORMS and self.image_channels not in (1, 3):
            raise ValueError(
                f"augment_transforms {self.augment_transforms!r} changes colours, which images of "
                f"{self.image_channels} channels do not have; choose bg, fundus or another without c"
            )
        if self.low_precision == "fp16" and self.num_low_precision_resolutions and self.conv_clamp is None:
            raise ValueError("low_precision fp16 overflows without conv_clamp; set it (256), or take bf16")
        num_layers = 1 + (3 if self.d_architecture == "resnet" else 2) * (int(math.log2(self.resolution)) - 2)
        if self.freeze_d > num_layers:
            raise ValueError(
                f"freeze_d {self.freeze_d} exceeds the {num_layers} layers before the discriminator's last ones"
            )
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
    noise_mode: Literal["const", "random", "none"] = "const"
    """Per-pixel noise: stored with the network, drawn from the image's seed, or none. Each seed is one image."""


def max_steps(settings: GanSettings) -> int:
    """Iterations that show the discriminator `kimg` thousand real images; the Trainer's `max_steps`."""
    return math.ceil(settings.kimg * 1000 / settings.batch_size)


def snapshot_steps(settings: GanSettings) -> int:
    """Iterations between two snapshots."""
    return max(1, round(settings.snapshot_kimg * 1000 / settings.batch_size))


def phase_intervals(settings: GanSettings) -> dict[str, int]:
    """The phases of an iteration in order, and the number of iterations from one run of each to the next.

    Regularisation is lazy (Karras 2020a, appendix B); a phase without weight is left out.
    """
    phases = {"Gmain": (1, 1.0), "Greg": (settings.pl_interval, settings.pl_weight)}
    phases |= {"Dmain": (1, 1.0), "Dreg": (settings.r1_interval, settings.r1_gamma)}
    return {name: interval for name, (interval, weight) in phases.items() if weight > 0}
