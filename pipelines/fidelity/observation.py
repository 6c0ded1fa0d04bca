"""Looking at many images: squares of photographs and what the GAN draws, one at a time, shared over devices."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import numpy as np
import numpy.typing as npt
import torch.distributed as dist
from torch.utils.data import DataLoader

from gan.data import load_images
from gan.fidelity.copies import CopySearch, Match
from gan.generator import Generator
from gan.sampling import generate
from gan.settings import GanSettings, SamplingSettings
from pipelines.fidelity.looks import Look, Seen
from segkit.tasks.settings import RuntimeSettings
from segkit.tasks.trainer import build_trainer


@dataclass(frozen=True)
class Drawing:
    """An image to be drawn by the generator."""

    seed: int
    sampling: SamplingSettings


@dataclass(frozen=True)
class Subject:
    """One image to look at: a file, or one to be drawn."""

    name: str
    source: Path | Drawing
    group: str = ""
    """The patient of a photograph; empty for an image of its own."""


@dataclass(frozen=True)
class Observation:
    """What was seen of it."""

    name: str
    seen: Seen
    match: Match
    group: str = ""
    """The patient of a photograph; empty for an image of its own."""


def of_files(paths: Sequence[Path], groups: Mapping[Path, str] | None = None) -> list[Subject]:
    """Each file by its name, without the suffix where that makes no two alike, with its patient in `groups`."""
    stems = Counter(path.stem for path in paths)
    return [
        Subject(path.stem if stems[path.stem] == 1 else path.name, path, (groups or {}).get(path, "")) for path in paths
    ]


def groups_of(observations: Sequence[Observation]) -> list[str]:
    """The patient of each observed image; a number of its own for an image without one."""
    return [each.group or f"#{number}" for number, each in enumerate(observations)]


def of_seeds(seeds: Sequence[int], sampling: SamplingSettings) -> list[Subject]:
    """What the generator draws of seeds."""
    return [Subject(f"seed{seed:04d}", Drawing(seed, sampling)) for seed in seeds]


def square_of_file(path: Path, gan: GanSettings) -> npt.NDArray[np.uint8]:
    """A photograph (r, r, c) as the discriminator is shown it."""
    square: npt.NDArray[np.uint8] = load_images([path], gan)[0].permute(1, 2, 0).contiguous().numpy()
    return square


class Observer(L.LightningModule):
    """Looks at subjects and compares each with the training images.

    Args:
        gan: how squares are made of photographs.
        generator: whose images are drawn; None looks at files only.
    """

    def __init__(self, look: Look, copies: CopySearch, gan: GanSettings, generator: Generator | None = None) -> None:
        super().__init__()
        self.look, self.copies, self.gan, self.generator = look, copies, gan, generator
        self.subjects: Sequence[Subject] = ()
        self.found: dict[int, Observation] = {}

    def square(self, subject: Subject) -> npt.NDArray[np.uint8]:
        """The subject as the GAN's square (r, r, c)."""
        source = subject.source
        if isinstance(source, Path):
            return square_of_file(source, self.gan)
        assert self.generator is not None
        how = source.sampling
        return generate(self.generator, source.seed, how.truncation_psi, how.truncation_cutoff, how.noise_mode)

    def predict_step(self, batch: int, batch_idx: int) -> int:
        """Keep what is seen of the subject of this number, and return the number."""
        square = self.square(self.subjects[batch])
        subject = self.subjects[batch]
        self.found[batch] = Observation(subject.name, self.look(square), self.copies.match(square), subject.group)
        return batch


def observe(
    observer: Observer, subjects: Sequence[Subject], runtime: RuntimeSettings, work_dir: Path, label: str
) -> list[Observation]:
    """Look at all subjects; every rank looks at its part and gets all that was seen."""
    trainer = build_trainer(runtime, work_dir, label, precision="32-true")
    observer.subjects, observer.found = subjects, {}
    numbers = list(range(len(subjects)))
    if numbers:
        # Lightning refuses an empty loader: a rank for which nothing is left looks at the first one again
        mine = numbers[trainer.global_rank :: trainer.world_size] or numbers[:1]
        trainer.predict(observer, DataLoader(mine, batch_size=None), return_predictions=False)  # type: ignore[arg-type]
    found = observer.found
    if trainer.world_size > 1 and numbers:
        parts: list[dict[int, Observation]] = [{} for _ in range(trainer.world_size)]
        dist.all_gather_object(parts, found)
        found = {number: each for part in parts for number, each in part.items()}
    return [found[number] for number in numbers]
