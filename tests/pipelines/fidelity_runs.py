"""Assessments without a GAN: observations with features, distances and vessels as one likes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan.fidelity.copies import Match, Transform
from pipelines.fidelity import records
from pipelines.fidelity.assessment import DRAWN, HELDOUT, SAMPLES, Assessment, ImageSet, assess
from pipelines.fidelity.looks import Look, Seen
from pipelines.fidelity.observation import Observation
from segkit.metrics.vessel_statistics import VesselStatistics


class NoLook(Look):
    """A look that is over: features are compared as they are."""

    name = "teacher"

    def forward(self, square: Any) -> Seen:
        raise AssertionError("nothing is looked at")


def observations(
    names: Sequence[str], num_training: int, seed: int, *, shift: float = 0.0, copied: int = 0, vessels: bool = True
) -> list[Observation]:
    """Features around `shift`; the first `copied` images lie next to a training image, all others far from any."""
    rng = np.random.default_rng(seed)
    found = []
    for number, name in enumerate(names):
        distances = rng.uniform(1.1, 1.3, num_training)
        if number < copied:
            distances[number % num_training] = 0.3
        means, spreads = (0.1 + shift / 50, 4.0, 5000.0, 60.0, 1.1), (0.01, 0.3, 400.0, 8.0, 0.02)
        statistics = VesselStatistics(*rng.normal(means, spreads))
        features = (1 + shift + 0.2 * rng.standard_normal(24)).astype(np.float32)
        match = Match(distances, Transform(mirrored=number % 2 == 1), (number, -number))
        found.append(Observation(name, Seen(features, statistics if vessels else None), match))
    return found


def made(
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
) -> Assessment:
    """An assessment of a GAN whose images differ from photographs by `shift`, `copied` of each set being copies.

    Of the held-out photographs `alarms` are taken for copies.
    """
    training = observations([f"{n}_training" for n in range(num_training)], num_training, 0, vessels=vessels)
    for number, each in enumerate(training):
        each.match.distances[number] = 0

    def images(name: str, title: str, names: list[str], seed: int, **given: Any) -> ImageSet:
        return ImageSet(name, title, observations(names, num_training, seed, vessels=vessels, **given))

    drawn = {"shift": shift, "copied": copied}
    sets = [
        images(HELDOUT, "held-out photographs", [f"{n}_test" for n in range(num_heldout)], 1, copied=alarms),
        images(DRAWN, "drawn, psi 1", [f"seed{n:04d}" for n in range(num_drawn)], 2, **drawn),
        images(SAMPLES, "samples, psi 0.7", [f"seed{n:04d}" for n in range(num_samples)], 3, **drawn),
    ]
    return assess("phantom_train", NoLook(), training, sets, k=k)


def write(folder: Path, assessment: Assessment) -> None:
    """What the stage would leave."""
    records.write(folder, assessment)
    records.write_sheet(folder, np.full((60, 90, 3), 200, np.uint8))
