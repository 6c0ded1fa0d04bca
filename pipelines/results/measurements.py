"""The measurements of the stage `evaluate`: their file, and the names of splits and of the second observer."""

from collections.abc import Sequence
from pathlib import Path

from segkit.core.files import read_json
from segkit.core.manifest import Split
from segkit.metrics.measure import Measurement, from_json

Measured = dict[Split, dict[str, list[Measurement]]]
"""By split and model."""

SCORED: tuple[Split, ...] = ("test", "out-of-fold", "holdout", "val")
"""From the most to the least trustworthy; `val` has chosen checkpoints, thresholds and rules."""

OBSERVER = "second observer"
"""Name of the run that scores the second observer's maps."""

OUT_OF_FOLD: Split = "out-of-fold"

SPLIT_NOTES: dict[Split, str] = {
    "test": "test: the data set's own test images, used for nothing else",
    "out-of-fold": "out-of-fold: each image predicted by the fold that left it out, threshold from the other folds",
    "holdout": "holdout: training images set aside, used for nothing else",
    "val": "val: these images chose checkpoints, thresholds and ensemble rule; the scores are optimistic",
}


def read_measurements(folder: Path) -> Measured:
    """The measurements in the folder of an evaluation, the most trustworthy split first."""
    raw = read_json(folder / "measurements.json")
    return {
        split: {name: [from_json(m) for m in ms] for name, ms in raw[split].items()} for split in SCORED if split in raw
    }


def common_split(measured: Sequence[Measured]) -> Split | None:
    """The most trustworthy split that all evaluations scored, if there is one."""
    return next((split for split in SCORED if all(split in splits for splits in measured)), None)
