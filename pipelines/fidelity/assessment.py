"""From what was seen of photographs and drawn images to numbers: one assessment of several sets of images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gan.fidelity import measures
from gan.fidelity.copies import Nearness, among_themselves, closeness, copy_threshold, nearness
from gan.fidelity.features import stacked
from gan.fidelity.measures import Estimate, short
from gan.fidelity.shares import Share, images_to_settle, share_of
from pipelines.fidelity.looks import Look
from pipelines.fidelity.observation import Observation, groups_of
from pipelines.fidelity.words import are_copies_of
from segkit.core.errors import ResultError
from segkit.core.wording import counted
from segkit.metrics.vessel_statistics import (
    MeanWithInterval,
    StatisticComparison,
    VesselStatistics,
    compare,
    summarise,
)

HELDOUT, DRAWN, SAMPLES = "heldout", "drawn", "samples"
"""Names of the sets: photographs the GAN never saw, what it draws, and the samples of a pipeline."""


class TooManyCopiesError(ResultError):
    """The GAN draws more copies of training images than it may."""


@dataclass(frozen=True)
class ImageSet:
    """Images that are measured together."""

    name: str
    """One of the names above."""
    title: str
    """What the reader calls them."""
    observations: Sequence[Observation]


@dataclass(frozen=True)
class Pair:
    """An image beside the training image it is nearest to."""

    name: str
    nearest: str
    transform: str
    """What is done to the training image to come so near; empty for nothing."""
    shift: tuple[int, int]
    """Rows and columns by which it is then moved, in the GAN's pixels."""
    distance: float
    """Between their structures: 0 for the same picture, about 1.4 for unrelated ones."""
    closeness: float
    """That distance over the mean of the next ones; a copy's is below the threshold."""


@dataclass(frozen=True)
class Copies:
    """How many of a set are copies."""

    share: Share
    pairs: tuple[Pair, ...]
    """Every image of the set, in its order."""
    nearer_in_structure: Nearness | None
    nearer_in_features: Nearness | None
    """Whether the set lies nearer to the training images than held-out photographs; None without any, or for them."""


@dataclass(frozen=True)
class SetAssessment:
    """Everything measured of one set."""

    name: str
    title: str
    n: int
    num_groups: int
    """Patients that photographs are of; of drawn images as many as images."""
    estimates: tuple[Estimate, ...]
    copies: Copies
    vessels: tuple[StatisticComparison, ...]
    """Against the training photographs; empty without a teacher."""


@dataclass(frozen=True)
class Assessment:
    """Everything measured."""

    reference: str
    """What the training photographs are called in keys."""
    num_real: int
    num_real_groups: int
    """Patients that the training photographs are of."""
    features: str
    dimension: int
    k: int
    threshold: float
    """Closeness below which an image counts as a copy."""
    twins: Share
    """Training photographs that would count as copies of another patient's."""
    vessels: Mapping[str, MeanWithInterval]
    """Of the training photographs."""
    sets: tuple[SetAssessment, ...]
    learnt_from: bool = True
    """Whether the training photographs are those that the GAN learnt from, by its own record."""
    notes: tuple[str, ...] = ()
    """What else the reader must know."""

    def __getitem__(self, name: str) -> SetAssessment:
        return next(each for each in self.sets if each.name == name)

    def __contains__(self, name: object) -> bool:
        return any(each.name == name for each in self.sets)

    def numbers(self, name: str) -> dict[str, float]:
        """What is logged of a set, by key."""
        found = self[name]
        keyed = {each.key(self.reference, self.features): each.value for each in found.estimates}
        copies = {f"copy_share{short(found.n)}_{self.reference}{self.num_real}": found.copies.share.value}
        return {key: value for key, value in (keyed | copies).items() if value is not None and value == value}


def assess(
    reference: str, look: Look, training: Sequence[Observation], sets: Sequence[ImageSet], *, k: int, seed: int = 0
) -> Assessment:
    """Measure every set against the training photographs.

    Args:
        reference: what the training photographs are called in keys.
        look: what saw the images.
        training: the photographs the GAN learnt from.
        sets: the others, held-out photographs first where there are any; an empty one is left out.
        k: which neighbour precision, recall, density and coverage reach to.
        seed: of bootstrap and permutations.

    Raises:
        SegkitError: features are not finite.
    """
    raw = _features(training, "photographs")
    real = look.balanced(raw, raw)
    groups = groups_of(training)
    own = among_themselves(_distances(training), groups)
    threshold = copy_threshold(own)
    vessels, vessel_groups = _vessels(training)
    names = [each.name for each in training]
    heldout: _Nearest | None = None
    assessed = []
    for images in sets:
        if not images.observations:
            continue
        features = look.balanced(_features(images.observations, images.title), raw)
        nearest = _Nearest.of(images.observations, features, real)
        theirs, their_groups = _vessels(images.observations)
        own_groups = groups_of(images.observations)
        assessed.append(
            SetAssessment(
                images.name,
                images.title,
                len(images.observations),
                len(set(own_groups)),
                tuple(measures.measure(real, features, k, groups, own_groups)),
                _copies(images.observations, names, groups, threshold, nearest, heldout),
                tuple(compare(vessels, theirs, groups=vessel_groups, other_groups=their_groups, seed=seed))
                if vessels
                else (),
            )
        )
        if images.name == HELDOUT:
            heldout = nearest
    return Assessment(
        reference=reference,
        num_real=len(training),
        num_real_groups=len(set(groups)),
        features=look.name,
        dimension=real.shape[1],
        k=k,
        threshold=threshold,
        twins=share_of(int((own < threshold).sum()), len(own), len(set(groups))),
        vessels=summarise(vessels, groups=vessel_groups, seed=seed) if vessels else {},
        sets=tuple(assessed),
    )


@dataclass(frozen=True)
class _Nearest:
    """Distances of each image to its nearest training image."""

    structure: npt.NDArray[np.float64]
    features: npt.NDArray[np.float64]
    groups: Sequence[str]
    """Patient of each image."""

    @classmethod
    def of(
        cls, observations: Sequence[Observation], features: npt.NDArray[np.float64], real: npt.NDArray[np.float64]
    ) -> "_Nearest":
        from scipy.spatial.distance import cdist

        return cls(_distances(observations).min(axis=1), cdist(features, real).min(axis=1), groups_of(observations))


def _copies(
    observations: Sequence[Observation],
    names: Sequence[str],
    training_groups: Sequence[str],
    threshold: float,
    nearest: _Nearest,
    heldout: _Nearest | None,
) -> Copies:
    close = closeness(_distances(observations), training_groups)
    pairs = tuple(
        Pair(
            each.name,
            names[each.match.nearest],
            str(each.match.transform),
            each.match.shift,
            float(each.match.distances.min()),
            float(value),
        )
        for each, value in zip(observations, close, strict=True)
    )
    return Copies(
        share_of(int((close < threshold).sum()), len(close), len(set(nearest.groups))),
        pairs,
        None if heldout is None else nearness(nearest.structure, heldout.structure, heldout.groups),
        None if heldout is None else nearness(nearest.features, heldout.features, heldout.groups),
    )


def _vessels(observations: Sequence[Observation]) -> tuple[list[VesselStatistics], list[str]]:
    """Vessel statistics of the images that have them, and the patients of these."""
    seen = zip(observations, groups_of(observations), strict=True)
    pairs = [(each.seen.vessels, group) for each, group in seen if each.seen.vessels is not None]
    return [vessels for vessels, _ in pairs], [group for _, group in pairs]


def _features(observations: Sequence[Observation], whose: str) -> npt.NDArray[np.float64]:
    return stacked([each.seen.features for each in observations], whose)


def _distances(observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
    return np.stack([each.match.distances for each in observations]).astype(np.float64)


def check_copies(assessment: Assessment, max_copy_share: float | None, advice: str) -> None:
    """Refuse a GAN that draws more copies than it may.

    Raises:
        TooManyCopiesError: of what it drew, a larger share are copies.
    """
    if max_copy_share is None:
        return
    worst = max(
        (each for each in assessment.sets if each.name != HELDOUT),
        key=lambda each: each.copies.share.value,
        default=None,
    )
    if worst is not None and worst.copies.share.value > max_copy_share:
        share = worst.copies.share
        photograph = "training photograph" if assessment.learnt_from else "photograph"
        raise TooManyCopiesError(
            f"{share.count} of {counted(share.n, 'image')} ({worst.title}) {are_copies_of(share.count, photograph)}: "
            f"{100 * share.value:.1f} %, and {100 * max_copy_share:g} % were allowed (max_copy_share); {advice}"
        )


def with_doubt(assessment: Assessment, max_copy_share: float | None) -> Assessment:
    """The assessment with a note where the share of copies passes, but its interval does not end at what is allowed."""
    drawn = [each for each in assessment.sets if each.name != HELDOUT]
    if max_copy_share is None or not drawn:
        return assessment
    widest = max(drawn, key=lambda each: each.copies.share.high)
    share = widest.copies.share
    if share.value > max_copy_share or share.high <= max_copy_share:
        return assessment
    needed = images_to_settle(share, max_copy_share)
    advice = f"draw about {needed} images to settle it" if needed else "no number of images with this share settles it"
    note = (
        f"the share of copies, {100 * share.value:.3g} % of {counted(share.n, 'image')} ({widest.title}), is within "
        f"the {100 * max_copy_share:g} % allowed, but its 95 % interval reaches {100 * share.high:.3g} %; {advice}"
    )
    return replace(assessment, notes=(*assessment.notes, note))


def as_json(assessment: Assessment) -> dict[str, Any]:
    """The assessment as plain values, without a number that is none."""
    return {
        "reference": {
            "name": assessment.reference,
            "n": assessment.num_real,
            "num_groups": assessment.num_real_groups,
            "learnt_from": assessment.learnt_from,
        },
        "notes": list(assessment.notes),
        "features": {"name": assessment.features, "dimension": assessment.dimension},
        "k": assessment.k,
        "copy_threshold": assessment.threshold,
        "twins": asdict(assessment.twins),
        "vessels": {name: _clean(asdict(each)) for name, each in assessment.vessels.items()},
        "sets": {each.name: _set_json(assessment, each) for each in assessment.sets},
    }


def _set_json(assessment: Assessment, found: SetAssessment) -> dict[str, Any]:
    structure, features = found.copies.nearer_in_structure, found.copies.nearer_in_features
    return {
        "title": found.title,
        "n": found.n,
        "num_groups": found.num_groups,
        "measures": [measures.as_json(each, assessment.reference, assessment.features) for each in found.estimates],
        "copies": {
            "key": f"copy_share{short(found.n)}_{assessment.reference}{assessment.num_real}",
            **_clean(asdict(found.copies.share)),
            "nearer_than_heldout_in_structure": structure and structure._asdict(),
            "nearer_than_heldout_in_features": features and features._asdict(),
            "names": [each.name for each in found.copies.pairs if each.closeness < assessment.threshold],
            "smallest_closeness": min(each.closeness for each in found.copies.pairs),
        },
        "vessels": [_clean(asdict(each)) for each in found.vessels],
    }


def _clean(value: Any) -> Any:
    """JSON has no nan."""
    if isinstance(value, dict):
        return {key: _clean(each) for key, each in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
