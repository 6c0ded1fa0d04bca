"""The stage types, each with its settings, external digests and preflight check.

This module does not import torch, because the runner imports it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, field_validator, model_validator

from gan.settings import GanSettings, SamplingSettings
from gan.training.batch_split import device_count_error as gan_device_count_error
from pipelines.stage import AnyStageType, Preflight, StageType
from segkit.core.config import Settings
from segkit.core.errors import RequestError
from segkit.core.files import sha256_file
from segkit.core.names import hint
from segkit.core.seeding import LARGEST_SEED
from segkit.data.settings import DataSettings
from segkit.tasks.settings import InferenceSettings, StartRequest, TrainSettings

StageName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]
Rule = Literal["mean", "weighted", "max", "vote", "intersection"]


def _data_digests(settings: DataSettings) -> dict[str, str]:
    if settings.source == "phantom":
        counted = settings.model_copy(update={"val_names": (), "holdout_names": ()})
        counted.cut(settings.phantom.training_groups)  # raises now rather than in the stage
        return {}
    if settings.source is None:
        raise RequestError(
            "no data set given; use --data NAME:DIR, for example --data drive:/data/DRIVE or --data phantom, or -c "
            "with settings that name one"
        )
    from segkit.data.readers import open_dataset

    dataset = open_dataset(settings.source, settings.group_pattern)
    settings.cut(dataset.training_groups, dataset.given_splits)
    return {"data": dataset.digest}


DATA = StageType(
    "data",
    DataSettings,
    "pipelines.stages.data",
    version=3,
    not_fingerprinted=frozenset({"source"}),
    external_digests=_data_digests,
)


def _train_device_count_error(settings: TrainSettings, num_devices: int) -> str | None:
    for number, phase in enumerate(settings.phases):
        if phase.batch_size % num_devices:
            batch = f"phases.{number}.batch_size = {phase.batch_size}"
            return f"{batch} cannot be shared evenly by {num_devices} devices (runtime.devices)"
    return None


def _train_digests(settings: TrainSettings) -> dict[str, str]:
    path = settings.init_path
    if path is None:
        return {}
    if not path.is_file():
        raise RequestError(
            f"init_from: {path} does not exist; give the .pth or .safetensors file of a network or the folder of a "
            "trained one, or train from scratch with init_from=null"
        )
    return {"init_from": sha256_file(path)}


def _train_preflight(settings: TrainSettings) -> Preflight | None:
    modules = settings.named_modules
    if settings.init_from is None and not modules:
        return None
    request = StartRequest(model=settings.model, init_path=settings.init_path, modules=modules)
    topic = " and ".join([*([str(settings.init_from)] if settings.init_from else []), *modules])
    fit = f"that {topic} fit{'' if ' and ' in topic else 's'} the network {settings.model.name}"
    return Preflight(fit, "segkit.tasks.pretrained", request.model_dump_json())


TRAIN = StageType(
    "train",
    TrainSettings,
    "pipelines.stages.train",
    version=3,
    not_fingerprinted=frozenset({"init_from"}),
    external_digests=_train_digests,
    preflight=_train_preflight,
    device_count_error=_train_device_count_error,
)


GAN_FIELDS = set(GanSettings.model_fields)


class GanStageSettings(GanSettings):
    """The GAN as a stage of a pipeline."""

    seed_offset: int = Field(0, ge=0)
    """Added to the run's seed, to train the same GAN again."""
    checkpoint_kimg: float = Field(4.0, gt=0)
    """Thousands of images between two checkpoints, from which an interrupted training resumes."""

    @model_validator(mode="after")
    def _photographs_have_these_channels(self) -> "GanStageSettings":
        if self.image_channels not in (1, 3):
            raise ValueError(f"image_channels {self.image_channels}: photographs need 3 (RGB) or 1 (gray)")
        return self


_NVIDIA_WEIGHTS = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets/"


def _gan_digests(settings: GanStageSettings) -> dict[str, str]:
    if settings.init_from is None:
        return {}
    path = Path(settings.init_from).expanduser()
    if path.is_dir():
        return {f"init_from/{file.name}": sha256_file(file) for file in sorted(path.iterdir()) if file.is_file()}
    if not path.is_file():
        raise RequestError(
            f"gan.init_from = {path} does not exist; train from scratch with --set gan.init_from=null, or download "
            f"ffhq-res512-mirror-stylegan2-noaug.pkl from {_NVIDIA_WEIGHTS}"
        )
    return {"init_from": sha256_file(path)}


def _gan_preflight(settings: GanStageSettings) -> Preflight | None:
    if settings.init_from is None:
        return None
    topic = f"that {settings.init_from} fits the GAN's settings"
    return Preflight(topic, "gan.checkpoints.first_weights", settings.model_dump_json(include=GAN_FIELDS))


GAN = StageType(
    "gan",
    GanStageSettings,
    "pipelines.stages.gan",
    version=5,
    not_fingerprinted=frozenset({"init_from", "checkpoint_kimg", "images_per_pass"}),
    external_digests=_gan_digests,
    preflight=_gan_preflight,
    device_count_error=gan_device_count_error,
)


def _check_seeds(first_seed: int, num_images: int) -> None:
    if first_seed + num_images - 1 > LARGEST_SEED:
        raise ValueError(
            f"first_seed {first_seed} and num_images {num_images} go beyond the largest seed, {LARGEST_SEED}; "
            "lower one of them"
        )


class SampleSettings(SamplingSettings):
    """Synthetic fundi from the generator."""

    num_images: int = Field(1000, ge=1)
    first_seed: int = Field(0, ge=0, le=LARGEST_SEED)
    """Images are generated from the seeds first_seed, first_seed + 1, ..."""

    @model_validator(mode="after")
    def _seeds_exist(self) -> "SampleSettings":
        _check_seeds(self.first_seed, self.num_images)
        return self


SAMPLE = StageType("sample", SampleSettings, "pipelines.stages.sample", version=2)


class FidelitySettings(Settings):
    """Quality of the GAN's fundi, measured by features of the teacher's encoder, and copies of training photographs."""

    enabled: bool = True
    """Measure the GAN. No trained model depends on the result."""
    num_images: int = Field(500, ge=2)
    """Generated images in the main set; the samples are measured as a second set."""
    first_seed: int = Field(0, ge=0, le=LARGEST_SEED)
    """The main set is generated from the seeds first_seed, first_seed + 1, ..."""
    truncation_psi: float = Field(1.0, ge=-2, le=2)
    """Truncation of the main set; 1 is none. The samples have their own."""
    k: int = Field(3, ge=1)
    """Neighbour number of precision and recall; must be less than the number of photographs."""
    max_copy_share: float | None = Field(None, ge=0, le=1)
    """Stop the pipeline before pseudo-labelling if the share of copies of training photographs in a generated set is
    larger, for example 0.1. None only reports the share."""
    num_pairs: int = Field(8, ge=1)
    """Images of each set shown beside their nearest photograph."""
    snapshots: bool = False
    """Measure each snapshot of the GAN's training too, on the seeds of the main set; the report shows the curves."""

    @model_validator(mode="after")
    def _seeds_exist(self) -> "FidelitySettings":
        _check_seeds(self.first_seed, self.num_images)
        return self


FIDELITY = StageType("fidelity", FidelitySettings, "pipelines.stages.fidelity", version=3)


class PseudoLabelSettings(Settings):
    """The teacher's probabilities for the synthetic fundi. Settings of a training phase define their use."""

    inference: InferenceSettings = InferenceSettings()


PSEUDO_LABEL = StageType("pseudo-label", PseudoLabelSettings, "pipelines.stages.pseudo_label", version=2)


class SelectSettings(Settings):
    """The best of several models by validation Dice."""


SELECT = StageType("select", SelectSettings, "pipelines.stages.select")


class EnsembleSettings(Settings):
    """Combination of several models, chosen on validation."""

    members: tuple[StageName, ...] = ()
    """Names of models; the teacher and every student by default."""
    rules: tuple[Rule, ...] = Field(("mean", "weighted", "max", "vote", "intersection"), min_length=1)
    """Candidates; the one with the best validation Dice is used. A single name fixes the rule."""
    inference: InferenceSettings = InferenceSettings()


ENSEMBLE = StageType("ensemble", EnsembleSettings, "pipelines.stages.ensemble", version=2)


class EvaluateSettings(Settings):
    """Predictions of every model on all images it was not trained on, and scores of the labelled ones."""

    inference: InferenceSettings = InferenceSettings()
    num_resamples: int = Field(2000, ge=100)
    """Bootstrap resamples per interval."""
    metrics: tuple[str, ...] = ()
    """Further metrics, beside those that are always measured (docs/metrics.md); all but v_rand and v_info are slow."""

    @field_validator("metrics")
    @classmethod
    def _metrics_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            return names
        from segkit.metrics.metrics import FURTHER_METRICS  # loads numpy, which planning does without

        if unknown := [name for name in names if name not in FURTHER_METRICS]:
            raise ValueError(f"{unknown[0]!r} is no further metric; {hint(unknown[0], FURTHER_METRICS)}")
        return names


EVALUATE = StageType("evaluate", EvaluateSettings, "pipelines.stages.evaluate", version=3)


class FoldSettings(Settings):
    """One fold of a cross-validation."""

    num_folds: int = Field(ge=2)
    fold: int = Field(ge=0)
    """Which fold is left out, from 0."""
    num_val: int = Field(ge=0)
    """Images that choose the fold's checkpoint, from the other folds."""
    split_seed: int = Field(ge=0)


FOLD = StageType("fold", FoldSettings, "pipelines.stages.fold")

MODEL, ENSEMBLE_OF_FOLDS = "model", "ensemble"
"""Of a cross-validation: the run that pools the models of all folds, and the one that averages several models."""

EVALUATE_FOLDS = StageType("evaluate-folds", EvaluateSettings, "pipelines.stages.evaluate_folds")


class ReportSettings(Settings):
    """The one-file HTML report."""

    title: str = "Vessel segmentation"
    num_samples: int = Field(16, ge=0)
    """Synthetic fundi shown."""
    num_overlays: int = Field(4, ge=0)
    """Scored images shown with true and false positives and negatives, per model."""


class Roles(Settings):
    """The recipe's models by their role in the experiment. The report derives its comparisons and verdict from them."""

    baseline: str
    """The stage whose model the treated models and the ensemble are compared with."""
    treated: tuple[str, ...] = ()
    """Stages that train with the treatment that the recipe tests."""
    controls: dict[str, str] = Field(default_factory=dict)
    """The control of each treated model, trained alike without the treatment. Their difference gives the verdict."""
    compared: tuple[str, ...] = ()
    """Stages whose models are tested against the baseline one by one, with Holm's correction for their number."""
    ensemble: str | None = None
    """The stage that combines several models."""
    treatment: str = "synthetic images"
    """What only the treated models are trained with, as a plural noun."""


class GraphNode(Settings):
    """A stage as the report shows it in the graph of the pipeline."""

    name: str
    type: str
    """Name of its stage type."""
    inputs: dict[str, str]
    """Names of the stages it reads, by input name."""


class _PageRequest(Settings):
    """What both reports need in addition to the folders of the other stages."""

    pipeline: dict[str, JsonValue]
    """The resolved settings, for the record."""
    roles: Roles
    """Models to compare."""


class ReportRequest(_PageRequest):
    """Input of the report in addition to the folders of the other stages."""

    report: ReportSettings
    graph: tuple[GraphNode, ...]
    """All stages before the report."""
    recipe: str = ""
    """Name of the recipe; empty in reports of versions that did not record it."""


REPORT = StageType("report", ReportRequest, "pipelines.stages.report", version=3)


class PoolSettings(Settings):
    """The pooled verdict over all cells of a repeated experiment."""

    title: str = "Repeated experiment"
    num_resamples: int = Field(2000, ge=100)
    """Bootstrap resamples per interval, each of seeds and of patients."""
    published: Literal["potesman-2023"] | None = None
    """Published tables shown beside the results."""


class CellRecord(Settings):
    """One run of the repeated recipe."""

    name: str
    seed: int
    fold: int | None
    values: dict[str, str]
    """Its choice on each axis of the grid."""
    stages: dict[str, str]
    """Its stages: names of the inputs by name in the recipe."""


class PoolRequest(_PageRequest):
    """Input of the pooled report in addition to the folders of the cells' stages."""

    pool: PoolSettings
    cells: tuple[CellRecord, ...]


POOL = StageType("pool", PoolRequest, "pipelines.stages.pool", version=2)

STAGE_TYPES: Mapping[str, AnyStageType] = {
    stage_type.name: stage_type
    for stage_type in (
        DATA,
        FOLD,
        TRAIN,
        GAN,
        SAMPLE,
        FIDELITY,
        PSEUDO_LABEL,
        SELECT,
        ENSEMBLE,
        EVALUATE,
        EVALUATE_FOLDS,
        REPORT,
        POOL,
    )
}
