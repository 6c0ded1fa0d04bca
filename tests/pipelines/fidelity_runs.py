"""Assessments without a GAN, from chosen features, distances and vessels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan.fidelity.copies import Match, Transform
from pipelines.fidelity import files
from pipelines.fidelity.assess import assess
from pipelines.fidelity.assessment import DRAWN, HELDOUT, SAMPLES, Assessment
from pipelines.fidelity.features import FeatureExtractor, ImageFeatures, ImageSet
from pipelines.fidelity.photographs import Photographs
from segkit.metrics.vessel_statistics import VesselStatistics

PHOTOGRAPHS = Photographs("phantom_train", (Path("unread.png"),))


class Unscaled(FeatureExtractor):
    """Compares features as they are."""

    name = "teacher"

    def forward(self, square: Any) -> Any:
        raise AssertionError("features are given")


def image_features(
    names: Sequence[str], num_training: int, seed: int, *, shift: float = 0.0, copied: int = 0, vessels: bool = True
) -> list[ImageFeatures]:
    """Features around `shift`; the first `copied` images lie next to a training image, all others far from any."""
    rng = np.random.default_rng(seed)
    made = []
    for number, name in enumerate(names):
        distances = rng.uniform(1.1, 1.3, num_training)
        if number < copied:
            distances[number % num_training] = 0.3
        means, spreads = (0.1 + shift / 50, 4.0, 5000.0, 60.0, 1.1), (0.01, 0.3, 400.0, 8.0, 0.02)
        statistics = VesselStatistics(*rng.normal(means, spreads))
        features = (1 + shift + 0.2 * rng.standard_normal(24)).astype(np.float32)
        match = Match(distances, Transform(mirrored=number % 2 == 1), (number, -number))
        made.append(ImageFeatures(name, features, statistics if vessels else None, match, name))
    return made


def assessment_of(
    num_training: int = 12,
    num_heldout: int = 11,
    num_drawn: int = 40,
    num_samples: int = 16,
    *,
    shift: float = 0.5,
    copied: int = 0,
    alarms: int = 0,
    vessels: bool = True,
    k: int = 3,
    note: str = "",
) -> Assessment:
    """An assessment of a GAN whose images differ from photographs by `shift`, `copied` of each set being copies.

    `alarms` of the held-out photographs count as copies.
    """
    training = image_features([f"{n}_training" for n in range(num_training)], num_training, 0, vessels=vessels)
    for number, image in enumerate(training):
        image.match.distances[number] = 0
    photographs = Photographs("phantom_train", PHOTOGRAPHS.training, note=note)

    def measured(name: str, title: str, names: list[str], seed: int, **given: Any) -> tuple[ImageSet, Any]:
        return ImageSet(name, title, {}), image_features(names, num_training, seed, vessels=vessels, **given)

    drawn = {"shift": shift, "copied": copied}
    sets = [
        measured(HELDOUT, photographs.heldout_title, [f"{n}_test" for n in range(num_heldout)], 1, copied=alarms),
        measured(DRAWN, "drawn, psi 1", [f"seed{n:04d}" for n in range(num_drawn)], 2, **drawn),
        measured(SAMPLES, "samples, psi 0.7", [f"seed{n:04d}" for n in range(num_samples)], 3, **drawn),
    ]
    return assess(photographs, Unscaled(), training, sets, k=k)


def write(folder: Path, assessment: Assessment) -> None:
    """The files of the stage."""
    files.write(folder, assessment, np.full((60, 90, 3), 200, np.uint8))
