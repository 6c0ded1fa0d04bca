"""Assessment of a GAN: every image set measured against the reference photographs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan.fidelity import measures
from gan.fidelity.copies import (
    MIN_TRAINING_IMAGES,
    CopySearch,
    Nearness,
    among_themselves,
    closeness,
    copy_threshold,
    nearness,
)
from gan.fidelity.features import stacked
from gan.fidelity.measures import Estimate, short
from gan.fidelity.shares import Share, images_to_settle, share_of
from gan.networks.generator import Generator
from gan.settings import GanSettings
from pipelines.fidelity.features import (
    FeatureExtractor,
    FeatureTask,
    ImageFeatures,
    ImageSet,
    Pixels,
    extract,
    load_extractor,
    read_square,
    set_of_files,
)
from pipelines.fidelity.photographs import Photographs
from segkit.core.errors import RequestError, ResultError
from segkit.core.wording import counted, counted_images
from segkit.metrics.vessel_statistics import (
    MeanWithInterval,
    StatisticComparison,
    VesselStatistics,
    compare,
    summarise,
)
from segkit.tasks.settings import RuntimeSettings

REFERENCE, HELDOUT, DRAWN, SAMPLES = "reference", "heldout", "drawn", "samples"
"""Names of the sets: photographs compared with, photographs the GAN was not trained on, newly generated images, a
pipeline's samples."""

Distances = npt.NDArray[np.float64]


class TooManyCopiesError(ResultError):
    """The GAN generates more copies of photographs than allowed."""


@dataclass(frozen=True)
class Pair:
    """An image and the reference photograph nearest to it."""

    name: str
    nearest: str
    transform: str
    """Applied to the photograph to come so near; empty for none."""
    shift: tuple[int, int]
    """Rows and columns by which it is then moved, in the GAN's pixels."""
    distance: float
    """Between their structures: 0 for the same picture, about 1.4 for unrelated ones."""
    closeness: float
    """That distance over the mean of the next ones; a copy's is below the threshold."""


@dataclass(frozen=True)
class SetAssessment:
    """Everything measured of one set."""

    title: str
    n: int
    num_groups: int
    """Patients of photographs; of generated images as many as images."""
    measures: tuple[Estimate, ...]
    copies: Share
    nearer_in_structure: Nearness | None
    nearer_in_features: Nearness | None
    """Compared with held-out photographs; None without any, and for these themselves."""
    vessels: tuple[StatisticComparison, ...]
    """Compared with the reference photographs; empty without a teacher."""
    pairs: tuple[Pair, ...] = ()
    """Of every image, in order."""

    def number(self, name: str) -> Estimate | Share:
        """The measure of this name; the share of copies for "copies"."""
        return self.copies if name == "copies" else next(m for m in self.measures if m.measure == name)


@dataclass(frozen=True)
class Assessment:
    """Everything measured of a GAN."""

    reference: str
    """Name of the reference photographs in keys."""
    num_real: int
    num_real_groups: int
    """Patients of the reference photographs."""
    features: str
    dimension: int
    k: int
    threshold: float
    """Closeness below which an image counts as a copy."""
    near_duplicates: Share
    """Reference photographs that would count as copies of another patient's."""
    vessels: Mapping[str, MeanWithInterval]
    """Of the reference photographs."""
    sets: Mapping[str, SetAssessment]
    learnt_from: bool = True
    """Whether the GAN's own record says that it was trained on the reference photographs."""
    notes: tuple[str, ...] = ()

    @property
    def generated(self) -> list[SetAssessment]:
        """The sets of generated images."""
        return [images for name, images in self.sets.items() if name != HELDOUT]

    def copy_key(self, name: str) -> str:
        """Key of a set's share of copies, as in `copy_share1k_drive_train20`."""
        return f"copy_share{short(self.sets[name].n)}_{self.reference}{self.num_real}"


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
        photographs: name and note of the reference photographs.
        extractor: the extractor that computed the features.
        reference: features of the reference photographs.
        sets: the others, held-out photographs first if there are any; an empty one is left out.
        k: neighbour number of precision, recall, density and coverage.
        seed: of bootstrap and permutations.

    Raises:
        SegkitError: features are not finite.
    """
    from scipy.spatial.distance import cdist

    raw = _features(reference, "photographs")
    real = extractor.balanced(raw, raw)
    groups, vessels = [image.group for image in reference], _vessels(reference)
    own = among_themselves(_distances(reference), groups)
    threshold = copy_threshold(own)
    names = [image.name for image in reference]
    heldout: tuple[Distances, Distances, list[str]] | None = None
    assessed = {}
    for images, measured in sets:
        if not measured:
            continue
        features = extractor.balanced(_features(measured, images.title), raw)
        own_groups, distances = [image.group for image in measured], _distances(measured)
        nearest = distances.min(axis=1), cdist(features, real).min(axis=1), own_groups
        close = closeness(distances, groups)
        assessed[images.name] = SetAssessment(
            images.title,
            len(measured),
            len(set(own_groups)),
            tuple(measures.measure(real, features, k, groups, own_groups)),
            share_of(int((close < threshold).sum()), len(close), len(set(own_groups))),
            nearness(nearest[0], heldout[0], heldout[2]) if heldout else None,
            nearness(nearest[1], heldout[1], heldout[2]) if heldout else None,
            tuple(compare(vessels, _vessels(measured), groups=groups, other_groups=own_groups, seed=seed))
            if vessels
            else (),
            tuple(_pair(image, names, float(value)) for image, value in zip(measured, close, strict=True)),
        )
        if images.name == HELDOUT:
            heldout = nearest
    return Assessment(
        reference=photographs.name,
        num_real=len(reference),
        num_real_groups=len(set(groups)),
        features=extractor.name,
        dimension=real.shape[1],
        k=k,
        threshold=threshold,
        near_duplicates=share_of(int((own < threshold).sum()), len(own), len(set(groups))),
        vessels=summarise(vessels, groups=groups, seed=seed) if vessels else {},
        sets=assessed,
        learnt_from=not photographs.note,
        notes=(photographs.note,) if photographs.note else (),
    )


def _pair(image: ImageFeatures, names: Sequence[str], close: float) -> Pair:
    match = image.match
    return Pair(
        image.name, names[match.nearest], str(match.transform), match.shift, float(match.distances.min()), close
    )


def _features(images: Sequence[ImageFeatures], title: str) -> npt.NDArray[np.float64]:
    return stacked([image.features for image in images], title)


def _distances(images: Sequence[ImageFeatures]) -> Distances:
    return np.stack([image.match.distances for image in images]).astype(np.float64)


def _vessels(images: Sequence[ImageFeatures]) -> list[VesselStatistics]:
    """Of all images, or of none without a teacher."""
    return [image.vessels for image in images if image.vessels is not None]


def check_copies(assessment: Assessment, max_copy_share: float | None, advice: str) -> None:
    """Refuse a GAN that generates more copies than allowed.

    Raises:
        TooManyCopiesError: the share of copies in a generated set is larger.
    """
    worst = max(assessment.generated, key=lambda images: images.copies.value, default=None)
    if max_copy_share is not None and worst is not None and worst.copies.value > max_copy_share:
        raise TooManyCopiesError(
            f"copies of reference photographs: {worst.copies.count} of {worst.n} ({worst.title}), "
            f"{100 * worst.copies.value:.1f} %; {100 * max_copy_share:g} % are allowed (max_copy_share); {advice}"
        )


def with_interval_note(assessment: Assessment, max_copy_share: float | None) -> Assessment:
    """The assessment with a note if the share of copies is allowed but the upper end of its interval is not."""
    widest = max(assessment.generated, key=lambda images: images.copies.high, default=None)
    if max_copy_share is None or widest is None:
        return assessment
    share = widest.copies
    if share.value > max_copy_share or share.high <= max_copy_share:
        return assessment
    needed = images_to_settle(share, max_copy_share)
    advice = f"generate about {needed} images to decide" if needed else "no number of images with this share decides"
    note = (
        f"the share of copies, {100 * share.value:.3g} % of {counted(share.n, 'image')} ({widest.title}), is within "
        f"the {100 * max_copy_share:g} % allowed, but its 95 % interval reaches {100 * share.high:.3g} %; {advice}"
    )
    return replace(assessment, notes=(*assessment.notes, note))


def generated_set(first_seed: int, num_images: int, truncation_psi: float) -> ImageSet:
    """Images generated from consecutive seeds, with the learnt noise."""
    sources = {f"seed{seed:04d}": seed for seed in range(first_seed, first_seed + num_images)}
    return ImageSet(DRAWN, f"drawn, psi {truncation_psi:g}", sources, truncation_psi)


class Evaluation:
    """Measures any number of generators; features of the photographs are computed once.

    Args:
        photographs: reference and held-out photographs.
        features: a model's folder or a TorchScript file.
        gan: how squares are made of photographs.
        runtime: where to compute.
        work_dir: for files that Lightning writes.
        label: first word of the progress lines.
        k: neighbour number of precision, recall, density and coverage.

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
