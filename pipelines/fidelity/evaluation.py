"""One evaluation: the photographs are looked at once, then any number of generators is measured against them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan.fidelity.copies import MIN_TRAINING_IMAGES, CopySearch
from gan.generator import Generator
from gan.settings import GanSettings, SamplingSettings
from pipelines.fidelity import pictures
from pipelines.fidelity.assessment import DRAWN, HELDOUT, Assessment, ImageSet, assess
from pipelines.fidelity.looks import open_look
from pipelines.fidelity.observation import Observation, Observer, Subject, observe, of_files, of_seeds, square_of_file
from pipelines.fidelity.photographs import Photographs
from segkit.core.errors import RequestError
from segkit.core.wording import counted_images
from segkit.tasks.settings import RuntimeSettings

HELDOUT_TITLE = "held-out photographs"


@dataclass(frozen=True)
class SubjectSet:
    """Images that are to be measured together."""

    name: str
    """One of the names in `pipelines.fidelity.assessment`."""
    title: str
    subjects: Sequence[Subject]


def drawn_set(first_seed: int, num_images: int, truncation_psi: float) -> SubjectSet:
    """What the generator draws of consecutive seeds, with the noise it has learnt."""
    sampling = SamplingSettings(truncation_psi=truncation_psi)
    seeds = range(first_seed, first_seed + num_images)
    return SubjectSet(DRAWN, f"drawn, psi {truncation_psi:g}", of_seeds(seeds, sampling))


class Evaluation:
    """Photographs, what looks at them, and what was seen.

    Args:
        photographs: those the GAN learnt from and those it never saw.
        features: a model's folder or a TorchScript file.
        gan: how squares are made of photographs.
        runtime: where to compute.
        work_dir: where Lightning may leave files of its own.
        label: heads the progress lines.
        k: which neighbour precision, recall, density and coverage reach to.

    Raises:
        RequestError: there are photographs of fewer than three patients.
        WeightsError: the features cannot be loaded, or the model has no encoder.
    """

    def __init__(
        self,
        photographs: Photographs,
        features: Path,
        gan: GanSettings,
        runtime: RuntimeSettings,
        work_dir: Path,
        label: str,
        k: int,
    ) -> None:
        self.photographs, self.gan, self.k = photographs, gan, k
        self.runtime, self.work_dir, self.label = runtime, work_dir, label
        self.look = open_look(features, *photographs.size, gan)
        if photographs.num_training_groups < MIN_TRAINING_IMAGES:
            raise RequestError(
                f"copies are found by comparing training images of {MIN_TRAINING_IMAGES} or more patients; there are "
                f"{counted_images(len(photographs.training), photographs.num_training_groups)}"
            )
        self.training = of_files(photographs.training, photographs.groups)
        self.copies = CopySearch(np.stack([square_of_file(path, gan) for path in photographs.training]))

    @cached_property
    def _photographs_seen(self) -> tuple[list[Observation], list[Observation]]:
        """Training and held-out photographs."""
        subjects = [*self.training, *of_files(self.photographs.heldout, self.photographs.groups)]
        seen = self._observe(subjects, None, "photographs")
        return seen[: len(self.training)], seen[len(self.training) :]

    @property
    def _heldout_title(self) -> str:
        return "other photographs" if self.photographs.note else HELDOUT_TITLE

    def assess(self, generator: Generator, sets: Sequence[SubjectSet], label: str = "") -> Assessment:
        """Measure a generator's sets, and the held-out photographs beside them; every rank gets the result."""
        training, heldout = self._photographs_seen
        seen = [ImageSet(HELDOUT, self._heldout_title, heldout)]
        for each in sets:
            observed = self._observe(each.subjects, generator, f"{label or each.title}")
            seen.append(ImageSet(each.name, each.title, observed))
        found = assess(self.photographs.name, self.look, training, seen, k=self.k, seed=self.runtime.seed)
        note = self.photographs.note
        return replace(found, learnt_from=False, notes=(note,)) if note else found

    def sheet(
        self, assessment: Assessment, generator: Generator, sets: Sequence[SubjectSet], count: int
    ) -> npt.NDArray[np.uint8]:
        """The picture of the images most alike to training photographs, each beside its photograph."""
        every = [*sets, SubjectSet(HELDOUT, self._heldout_title, of_files(self.photographs.heldout))]
        subjects: Mapping[tuple[str, str], Subject] = {
            (each.name, subject.name): subject for each in every for subject in each.subjects
        }
        observer = self._observer(generator)
        training = {subject.name: observer.square(subject) for subject in self.training}
        return pictures.nearest_sheet(
            assessment, count, lambda name, image: observer.square(subjects[name, image]), training, self.copies
        )

    def _observe(self, subjects: Sequence[Subject], generator: Generator | None, label: str) -> list[Observation]:
        observer = self._observer(generator)
        return observe(observer, subjects, self.runtime, self.work_dir, f"{self.label} {label}")

    def _observer(self, generator: Generator | None) -> Observer:
        return Observer(self.look, self.copies, self.gan, generator)
