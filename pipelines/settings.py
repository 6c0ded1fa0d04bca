"""Settings of the recipe `synthetic-aug`, one section per stage; free of torch."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from gan.settings import GanSettings, SamplingSettings
from segkit.core.config import Settings
from segkit.core.seeding import LARGEST_SEED
from segkit.data.settings import DataSettings
from segkit.tasks.settings import InferenceSettings, PhaseSettings, RuntimeSettings, TrainSettings

StageName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]
Rule = Literal["mean", "weighted", "max", "vote", "intersection"]


class GanStageSettings(GanSettings):
    """The GAN and its place in the pipeline."""

    seed_offset: int = Field(0, ge=0)
    """Added to the run's seed, to train the same GAN again."""
    checkpoint_kimg: float = Field(4.0, gt=0)
    """Thousands of images between two checkpoints, from which a killed training goes on."""

    @property
    def gan_settings(self) -> GanSettings:
        """Without its place in the pipeline."""
        return GanSettings.model_validate(self.model_dump(include=set(GanSettings.model_fields)))

    @model_validator(mode="after")
    def _photographs_have_these_channels(self) -> "GanStageSettings":
        if self.image_channels not in (1, 3):
            raise ValueError(f"image_channels {self.image_channels}: photographs are drawn in 3 (RGB) or 1 (gray)")
        return self


def _check_seeds(first_seed: int, num_images: int) -> None:
    if first_seed + num_images - 1 > LARGEST_SEED:
        raise ValueError(
            f"first_seed {first_seed} and num_images {num_images} go beyond the largest seed, {LARGEST_SEED}; "
            "lower one of them"
        )


class SampleSettings(SamplingSettings):
    """Synthetic fundi drawn from the generator."""

    num_images: int = Field(1000, ge=1)
    first_seed: int = Field(0, ge=0, le=LARGEST_SEED)
    """Images are drawn from the seeds first_seed, first_seed + 1, ..."""

    @model_validator(mode="after")
    def _seeds_exist(self) -> "SampleSettings":
        _check_seeds(self.first_seed, self.num_images)
        return self


class FidelitySettings(Settings):
    """How good the GAN's fundi are, and whether they are copies of photographs; the teacher's encoder sees them."""

    enabled: bool = True
    """Measure them before they are labelled. Nothing that is trained depends on it."""
    num_images: int = Field(500, ge=2)
    """Images drawn to measure the GAN; the samples are measured beside them."""
    first_seed: int = Field(0, ge=0, le=LARGEST_SEED)
    """They are drawn from the seeds first_seed, first_seed + 1, ..."""
    truncation_psi: float = Field(1.0, ge=-2, le=2)
    """1 measures all the GAN can draw; the samples have a psi of their own."""
    k: int = Field(3, ge=1)
    """Neighbour that precision, recall, density and coverage reach to; needs more photographs than that."""
    max_copy_share: float | None = Field(None, ge=0, le=1)
    """Stop the pipeline before anything is labelled if a larger share of drawn images or of samples are copies of
    training photographs, as 0.1. None only reports the share."""
    num_pairs: int = Field(8, ge=1)
    """Images of each kind shown beside the photograph they are nearest to."""

    @model_validator(mode="after")
    def _seeds_exist(self) -> "FidelitySettings":
        _check_seeds(self.first_seed, self.num_images)
        return self


class PseudoLabelSettings(Settings):
    """Vessel probabilities that the teacher gives each synthetic fundus; how they are used is a phase's setting."""

    inference: InferenceSettings = InferenceSettings()


class ControlSettings(Settings):
    """The student's training without synthetic images: same steps, augmentation and schedule."""

    enabled: bool = True
    """Without a control the report can give no verdict."""


class EnsembleSettings(Settings):
    """How members are combined; chosen on validation."""

    members: tuple[StageName, ...] = ()
    """Names of models; the teacher and every student by default."""
    rules: tuple[Rule, ...] = Field(("mean", "weighted", "max", "vote", "intersection"), min_length=1)
    """The candidates among which validation Dice chooses; one name fixes the rule."""
    inference: InferenceSettings = InferenceSettings()


class EvaluateSettings(Settings):
    """Prediction of every model on every image, and the scores where there are labels."""

    inference: InferenceSettings = InferenceSettings()
    num_resamples: int = Field(2000, ge=100)
    """Bootstrap resamples of an interval."""


class ReportSettings(Settings):
    """The one-file HTML report."""

    title: str = "Do synthetic fundi help?"
    num_samples: int = Field(16, ge=0)
    """Synthetic fundi shown."""
    num_overlays: int = Field(4, ge=0)
    """Scored images shown with true and false positives and negatives, per model."""


RESERVED_NAMES = {
    *("data", "teacher", "gan", "samples", "fidelity", "pseudo-labels", "select", "ensemble", "evaluate", "report")
}


def _papers_student() -> dict[str, TrainSettings]:
    return {"synthetic-first": TrainSettings(phases=(PhaseSettings(data="synthetic"), PhaseSettings(data="real")))}


class SyntheticAugSettings(Settings):
    """Everything `segkit pipeline run synthetic-aug` reads."""

    runtime: RuntimeSettings = RuntimeSettings()
    data: DataSettings = DataSettings()
    teacher: TrainSettings = TrainSettings()
    gan: GanStageSettings = GanStageSettings()
    samples: SampleSettings = SampleSettings()
    fidelity: FidelitySettings = FidelitySettings()
    pseudo_labels: PseudoLabelSettings = PseudoLabelSettings()
    students: dict[StageName, TrainSettings] = Field(default_factory=_papers_student, min_length=1)
    """Each a name and its training; a control is trained beside each. By default the paper's: synthetic, then real."""
    control: ControlSettings = ControlSettings()
    ensemble: EnsembleSettings = EnsembleSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
    rounds: int = Field(1, ge=1)
    """Repeat gan to students so often, the best model on validation being the next teacher (the paper's step 5)."""

    @model_validator(mode="after")
    def _names_fit(self) -> "SyntheticAugSettings":
        taken = RESERVED_NAMES & set(self.students)
        if taken:
            raise ValueError(f"a student cannot be called {taken.pop()!r}; that is another stage's name")
        if any(phase.data != "real" for phase in self.teacher.phases):
            raise ValueError("the teacher trains on real images only; set data: real in its phases")
        unknown = set(self.ensemble.members) - {"teacher", *self.students}
        if unknown:
            known = ", ".join(["teacher", *self.students])
            raise ValueError(f"ensemble.members names {', '.join(sorted(unknown))}; there are {known}")
        return self
