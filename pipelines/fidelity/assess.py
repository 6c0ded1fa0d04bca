"""Assessment of a GAN: every image set measured against the reference photographs."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan.fidelity.copies import MIN_TRAINING_IMAGES, CopySearch, among_themselves, closeness, copy_threshold
from gan.fidelity.measures import Number, measure, share
from gan.networks.generator import Generator
from gan.settings import GanSettings
from pipelines.fidelity.assessment import DRAWN, HELDOUT, REFERENCE, Assessment, Pair, SetAssessment, Vessels
from pipelines.fidelity.features import (
    FeatureExtractor,
    FeatureTask,
    ImageFeatures,
    ImageSet,
    extract,
    load_extractor,
    read_square,
    set_of_files,
    stacked,
)
from pipelines.fidelity.photographs import Photographs
from segkit.core.arrays import Pixels
from segkit.core.errors import RequestError, ResultError
from segkit.core.wording import counted_images
from segkit.metrics.vessel_statistics import MeanWithInterval, VesselStatistics, compare, summarise
from segkit.tasks.settings import RuntimeSettings


class TooManyCopiesError(ResultError):
    """The GAN generates more copies of photographs than allowed."""


def assess(
    photographs: Photographs,
    extractor: FeatureExtractor,
    reference: Sequence[ImageFeatures],
    sets: Sequence[tuple[ImageSet, Sequence[ImageFeatures]]],
    *,
    k: int,
    seed: int = 0,
) -> Assessment:
    """Measure every set against the reference photographs.

    Args:
        sets: the others; an empty one is left out.
        k: neighbour number of precision and recall.

    Raises:
        SegkitError: features are not finite.
    """
    raw = stacked(reference, "photographs")
    real = extractor.balanced(raw, raw)
    groups, names = [image.group for image in reference], [image.name for image in reference]
    vessels = _vessels(reference)
    own_closeness = among_themselves(_distances(reference), groups)
    threshold = copy_threshold(own_closeness)

    def assess_set(images: ImageSet, measured: Sequence[ImageFeatures]) -> SetAssessment:
        features = extractor.balanced(stacked(measured, images.title), raw)
        own_groups = [image.group for image in measured]
        close = closeness(_distances(measured), groups)
        n, num_groups, num_copies = len(measured), len(set(own_groups)), int((close < threshold).sum())
        compared = (
            compare(vessels, _vessels(measured), groups=groups, other_groups=own_groups, seed=seed) if vessels else []
        )
        return SetAssessment(
            images.title,
            n,
            num_groups,
            num_copies,
            measure(real, features, k, groups, own_groups) | {"copy_share": share(num_copies, n, num_groups)},
            {c.statistic: Vessels(_number(c.other), Number.of(c.p).value, c.finding) for c in compared},
            tuple(_pair(image, names, float(value)) for image, value in zip(measured, close, strict=True)),
        )

    means = summarise(vessels, groups=groups, seed=seed) if vessels else {}
    return Assessment(
        photographs.name,
        len(reference),
        len(set(groups)),
        photographs.note,
        extractor.name,
        real.shape[1],
        k,
        threshold,
        int((own_closeness < threshold).sum()),
        {name: _number(mean) for name, mean in means.items()},
        {images.name: assess_set(images, measured) for images, measured in sets if measured},
    )


def _pair(image: ImageFeatures, names: Sequence[str], close: float) -> Pair:
    match = image.match
    distance = float(match.distances.min())
    return Pair(image.name, names[match.nearest], close, distance, str(match.transform), *match.shift)


def _number(mean: MeanWithInterval) -> Number:
    return Number.of(mean.mean, mean.low, mean.high)


def _distances(images: Sequence[ImageFeatures]) -> npt.NDArray[np.float64]:
    return np.stack([image.match.distances for image in images]).astype(np.float64)


def _vessels(images: Sequence[ImageFeatures]) -> list[VesselStatistics]:
    """Of all images, or of none without a teacher."""
    return [image.vessels for image in images if image.vessels is not None]


def check_copies(assessment: Assessment, max_copy_share: float | None, advice: str) -> None:
    """Refuse a GAN that generates more copies than allowed.

    Raises:
        TooManyCopiesError: the share of copies in a generated set is larger.
    """
    worst = max(assessment.generated, key=lambda images: images.num_copies / images.n, default=None)
    if max_copy_share is None or worst is None:
        return
    copied = worst.num_copies / worst.n
    if copied > max_copy_share:
        raise TooManyCopiesError(
            f"copies of reference photographs: {worst.num_copies} of {worst.n} ({worst.title}), "
            f"{100 * copied:.1f} %; {100 * max_copy_share:g} % are allowed (max_copy_share); {advice}"
        )


def generated_set(first_seed: int, num_images: int, truncation_psi: float) -> ImageSet:
    """Images generated from consecutive seeds, with the learnt noise."""
    sources = {f"seed{seed:04d}": seed for seed in range(first_seed, first_seed + num_images)}
    return ImageSet(DRAWN, f"drawn, psi {truncation_psi:g}", sources, truncation_psi)


class Evaluation:
    """Measures any number of generators; features of the photographs are computed once.

    Args:
        features: a model's folder or a TorchScript file.
        gan: how squares are made of photographs.
        label: first word of the progress lines.
        k: neighbour number of precision and recall.

    Raises:
        RequestError: there are reference photographs of fewer than three patients.
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
        self.extractor = load_extractor(features, *photographs.size, gan)
        if photographs.num_training_groups < MIN_TRAINING_IMAGES:
            number = counted_images(len(photographs.training), photographs.num_training_groups)
            raise RequestError(
                f"copies can be measured with {MIN_TRAINING_IMAGES} or more patients; there are {number}"
            )
        self.copies = CopySearch(np.stack([read_square(path, gan) for path in photographs.training]))
        self.reference = set_of_files(REFERENCE, "photographs", photographs.training, photographs.groups)
        self.heldout = set_of_files(HELDOUT, photographs.heldout_title, photographs.heldout, photographs.groups)

    @cached_property
    def _of_photographs(self) -> tuple[list[ImageFeatures], list[ImageFeatures]]:
        return self._extract(self.reference), self._extract(self.heldout)

    def assess(self, generator: Generator, sets: Sequence[ImageSet], label: str = "") -> Assessment:
        """Measure the held-out photographs and a generator's sets; every rank gets the result."""
        reference, heldout = self._of_photographs
        measured = [(self.heldout, heldout), *((images, self._extract(images, generator, label)) for images in sets)]
        return assess(self.photographs, self.extractor, reference, measured, k=self.k, seed=self.runtime.seed)

    def _extract(self, images: ImageSet, generator: Generator | None = None, label: str = "") -> list[ImageFeatures]:
        task = FeatureTask(self.extractor, self.copies, self.gan, generator)
        return extract(task, images, self.runtime, self.work_dir, f"{self.label} {label or images.title}")

    def squares(self, generator: Generator, sets: Sequence[ImageSet]) -> Callable[[str, str], Pixels]:
        """A function from the names of a set and of an image in it to the GAN's square (r, r, c)."""
        task = FeatureTask(self.extractor, self.copies, self.gan, generator)
        by_name = {images.name: images for images in (self.reference, self.heldout, *sets)}
        return lambda set_name, image_name: task.square(by_name[set_name], image_name)
