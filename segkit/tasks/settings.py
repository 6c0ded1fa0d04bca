"""Settings of training, inference and the machine, free of torch so that the runner can read them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from segkit.core.config import Settings
from segkit.core.files import read_json
from segkit.data.settings import GeometrySettings, PreprocessingSettings, TrainingDataSettings
from segkit.models.loss_settings import NAMED_LOSSES, LossSettings
from segkit.models.settings import DiscriminatorSettings, ModelSettings, SAUNetSettings
from segkit.weights import shipped_models


class RuntimeSettings(Settings):
    """Where and how a run computes. Only `seed`, `precision` and `deterministic` can change a result."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto` takes GPUs where there are any."""
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    """Processes on this node: GPUs, or CPU processes that share the cores."""
    num_nodes: int = Field(1, ge=1)
    """Machines of a stage that torchrun starts with `segkit stage`; 1 in a pipeline (docs/clusters.md)."""
    parallel: int = Field(1, ge=1)
    """Stages that run at the same time, such as folds of a cross-validation. GPUs and cores are divided among them."""
    strategy: Literal["auto", "ddp"] = "auto"
    """`auto` is plain training on one device and DDP on several."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """`auto` is bf16-mixed on GPUs and CPUs with bf16 instructions, 32-true elsewhere; recorded with the result."""
    seed: int = Field(0, ge=0)
    """Seed of everything random that has no seed of its own."""
    deterministic: bool = False
    """Ask torch for deterministic algorithms on GPUs (slower); where it has none, as for the GAN's augmentation, it
    warns and goes on. CPU runs repeat exactly without it."""
    num_workers: int = Field(0, ge=0)
    """Loader processes per rank. Images are in memory, so few are needed; results do not depend on it."""
    tracker: Literal["wandb", "csv", "none"] = "csv"
    """Where metrics go: Weights & Biases (online when logged in, else offline), CSV in the stage's folder, nowhere."""
    wandb_project: str = "segkit"
    """Project that W&B runs are filed under."""
    share_images: bool = False
    """Send pictures to W&B: photographs, label maps, predictions, samples, the report, and the weights of the GAN,
    which can memorise its photographs. While this is false, W&B gets settings, curves, numbers, digests and the weights
    of segmentation networks. A stage that is finished is not sent again when this changes."""

    def identity(self) -> dict[str, object]:
        """The settings that can change a result."""
        return {"seed": self.seed, "precision": self.precision, "deterministic": self.deterministic}


class ScheduleSettings(Settings):
    """The learning rate as a factor over the phase; every length is in epochs and may be fractional."""

    name: Literal["constant", "step", "cosine", "cyclic-cosine"] = "constant"
    warmup_epochs: float = Field(0.0, ge=0)
    """The factor rises linearly from 0 to 1 over this many epochs, before anything else."""
    step_epochs: tuple[float, ...] = ()
    """`step`: after each of these epochs the factor is multiplied by `step_factor`. The paper: (100,) of 150."""
    step_factor: float = Field(0.1, gt=0, le=1)
    """`step`: the factor of each step."""
    cycle_epochs: float = Field(50.0, gt=0)
    """`cyclic-cosine`: length of one fall from 1 to `final_factor`, after which it starts over."""
    final_factor: float = Field(0.0, ge=0, le=1)
    """`cosine` and `cyclic-cosine`: the factor at the end of the fall."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "ScheduleSettings":
        if self.name == "step" and not self.step_epochs:
            raise ValueError("a step schedule needs step_epochs, for example [100]")
        return self


class OptimizerSettings(Settings):
    """Adam (Kingma 2015), AdamW (Loshchilov 2019), or stochastic gradient descent."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.0, ge=0, lt=1)
    """`sgd`: share of the previous step that is added to each step."""
    learning_rate_factors: dict[str, Annotated[float, Field(gt=0)]] = Field({})
    """Factors on the learning rate of the network's modules, as in {encoder: 0.1, encoder.0: 0.01}; the innermost
    module's counts."""

    @model_validator(mode="after")
    def _momentum_of_sgd(self) -> "OptimizerSettings":
        if self.momentum and self.name != "sgd":
            raise ValueError(f"momentum belongs to sgd; {self.name} has its own")
        return self


class PhaseSettings(TrainingDataSettings):
    """One stretch of training: which images, how they are varied, for how long, how fast."""

    epochs: int = Field(100, ge=1)
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Per-step decay of the averaged weights that are validated and kept; none by default."""
    early_stop_epochs: int | None = Field(None, ge=1)
    """Stop after this many epochs without a better validation score; never by default."""
    val_interval_epochs: int = Field(1, ge=1)
    """Validate every so many epochs (and after the last)."""
    frozen: tuple[str, ...] = ()
    """Modules of the network that are not trained, as in [encoder] or [encoder.0, encoder.1]. Their batch norms keep
    their statistics, and nothing is dropped in them."""
    init_from: Literal["previous", "scratch"] = "previous"
    """Start from the weights of the phase before (scratch in the first), or anew: from the `init_from` of the model,
    or from random weights."""


class AdversarialSettings(DiscriminatorSettings):
    """A discriminator that is trained with the network, and the loss it adds (Goodfellow 2014; Zhang 2019)."""

    weight: float = Field(1.0, gt=0)
    """Factor on the network's adversarial loss, beside its segmentation loss."""
    loss: Literal["hinge", "bce"] = "hinge"
    """`hinge` (Lim 2017, as in SAGAN), or `bce`, binary cross-entropy with the non-saturating loss of the network."""
    learning_rate: float = Field(4e-4, gt=0)
    """Of the discriminator; the phase's schedule multiplies it too. The network's is the phase's."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.0, 0.9)
    """Of the discriminator's Adam."""


class TrainSettings(Settings):
    """A segmentation network and the phases that train it."""

    model: ModelSettings = SAUNetSettings()
    init_from: Path | None = None
    """Start from the weights of a shipped model (`vessels`), of a trained one (its folder or `model.safetensors`), or
    of a file: torchvision's `.pth` of DeepLabV3 or ResNet for `deeplabv3`. Heads for other classes start anew. The
    sections model, geometry and preprocessing that are left out are those of the model's folder."""
    geometry: GeometrySettings = GeometrySettings()
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    loss: LossSettings = NAMED_LOSSES["bce-dice"]
    """A term by its name (`ce`, `focal`, `dice`, `tversky`, `mcc`, `lovasz`, `cldice`), a named sum (`bce-dice`, the
    average of cross-entropy and soft Dice; `bce-mcc` of SA-UNetv2; `focal-tversky`; `dice-cldice`), or a list of terms,
    each with its name, weight and settings."""
    adversarial: AdversarialSettings | None = None
    """Train a discriminator against the network, which adds an adversarial loss to its own. Each phase begins with a
    new discriminator. By default there is none."""
    monitor: Literal["val/dice", "val/auroc", "val/auprc", "val/mcc"] = "val/dice"
    """The validation metric that chooses the weights to keep."""
    keep: Literal["best", "last"] = "best"
    """Keep the weights with the best validation score, or those after the last epoch; the latter needs no validation
    images (`data.num_val: 0`)."""
    threshold: float | None = Field(None, ge=0, le=1)
    """Threshold of a binary model, for example from out-of-fold predictions. By default the one with the best Dice on
    the validation images, or 0.5 without any."""
    phases: Annotated[tuple[PhaseSettings, ...], Field(min_length=1)] = (PhaseSettings(),)
    seed_offset: int = Field(0, ge=0)
    """Added to the run's seed, to train the same network again."""
    synthetic_replaced: bool = False
    """Draw real images in place of synthetic ones, as many and as often: the control of what synthetic images bring."""

    @property
    def init_path(self) -> Path | None:
        """The file of `init_from`, which may be the folder of a model."""
        if self.init_from is None:
            return None
        path = shipped_models().get(str(self.init_from), self.init_from.expanduser())
        return path / "model.safetensors" if path.is_dir() else path

    @property
    def named_modules(self) -> tuple[str, ...]:
        """The modules of the network that the phases name."""
        phases = self.phases
        return tuple(
            sorted({name for phase in phases for name in (*phase.frozen, *phase.optimizer.learning_rate_factors)})
        )

    @model_validator(mode="before")
    @classmethod
    def _sections_of_the_first_weights(cls, values: object) -> object:
        """Take the sections that are left out from the model to start from."""
        if not isinstance(values, dict) or not isinstance(values.get("init_from"), str | Path):
            return values
        path = Path(values["init_from"])
        folder = shipped_models().get(str(path), path.expanduser())
        try:
            details = read_json(folder / "model.json")["details"]
            return {key: details[key] for key in ("model", "geometry", "preprocessing") if key in details} | values
        except (OSError, ValueError, KeyError, TypeError):  # no model's folder, which is reported when it is read
            return values

    @model_validator(mode="after")
    def _early_stop_needs_scores(self) -> "TrainSettings":
        if self.keep == "last" and any(phase.early_stop_epochs is not None for phase in self.phases):
            raise ValueError("early_stop_epochs goes with keep: best; keep: last trains all epochs")
        return self

    @model_validator(mode="after")
    def _network_takes_these_channels(self) -> "TrainSettings":
        channels = self.preprocessing.num_channels
        if self.model.image_channels == channels:
            return self
        if "image_channels" in self.model.model_fields_set:
            raise ValueError(
                f"preprocessing.channels: {self.preprocessing.channels} gives {channels}, not the network's "
                f"image_channels {self.model.image_channels}; leave image_channels out, it is set automatically"
            )
        object.__setattr__(self, "model", self.model.model_copy(update={"image_channels": channels}))
        return self

    @model_validator(mode="after")
    def _patches_are_crops(self) -> "TrainSettings":
        size = self.preprocessing.patch_size
        for number, phase in enumerate(self.phases):
            if size is not None and phase.crop_size != size:
                raise ValueError(
                    f"preprocessing.patch_size is {size} and phases.{number}.crop_size {phase.crop_size}; "
                    f"set crop_size: {size}, because the network is to be used on patches like those of its training"
                )
        return self

    @model_validator(mode="after")
    def _adversarial_training_needs_adam(self) -> "TrainSettings":
        if self.adversarial is not None and any(phase.optimizer.name == "sgd" for phase in self.phases):
            raise ValueError("adversarial training steps both networks by adam or adamw; set the phases' optimizer")
        if self.adversarial is not None and not self.model.trainable:
            raise ValueError(f"{self.model.name} has no weights to train; remove the section adversarial")
        return self


class StartRequest(Settings):
    """What is checked before a training starts: its first weights, and the modules that its settings name."""

    model: ModelSettings
    init_path: Path | None
    modules: tuple[str, ...]


class InferenceSettings(Settings):
    """How a trained network predicts an image."""

    tta: Literal["none", "flips", "d4"] = "none"
    """Test-time augmentation: average over 1, 4 (flips) or 8 (flips and quarter turns) views."""
    tile: int | None = Field(None, ge=64)
    """Side of overlapping tiles for images too large for memory. By default images of up to 2.5 million pixels (after
    scaling) are predicted whole, larger ones in tiles of 1280 that overlap by 160 pixels. A model with a
    preprocessing.patch_size always uses tiles of that size."""
    tile_overlap: float = Field(0.5, ge=0, lt=1)
    """Share of a tile's side that it has in common with the next, where `tile` is given."""
    tile_weights: Literal["gaussian", "uniform"] = "gaussian"
    """Where tiles overlap, pixels near a tile's middle count more, or all alike."""
    scale: Literal["auto"] | Annotated[float, Field(gt=0, le=16)] = "auto"
    """Factor on each image's size before it is predicted; the prediction is scaled back. `auto` brings the field of
    view's diameter into the range of the training images, so that vessels have the calibre that the network has seen;
    1 scales nothing."""
