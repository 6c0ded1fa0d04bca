"""Settings of the data: which images, how they are cut into splits, what size the network sees."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from segkit.core.config import Settings

if TYPE_CHECKING:
    from segkit.core.manifest import Split


class PhantomSettings(Settings):
    """A drawn data set."""

    num_train: int = Field(12, ge=2)
    num_test: int = Field(4, ge=0)
    height: int = Field(146, ge=48)
    width: int = Field(141, ge=48)
    seed: int = Field(0, ge=0)
    classes: Literal["binary", "multiclass"] = "binary"
    """Vessels alone in DRIVE's form, or background, vessel and optic disc in a folder with `classes.yaml`."""


class DataSettings(Settings):
    """The labelled images and the splits cut from them."""

    source: str | None = None
    """`NAME:DIR`, as in `drive:/data/DRIVE`, or `phantom` to draw one; `--data` on the command line sets it."""
    phantom: PhantomSettings = PhantomSettings()
    """What `source: phantom` draws."""
    group_pattern: str | None = None
    """Regular expression whose one capture group finds the patient in each image's name, as in `^(p[0-9]+)_`. Images of
    a patient are never divided by a split. By default `groups.csv` in the data set's folder counts (columns `image` and
    `group`), then CHASE_DB1's names (both eyes of a child), and otherwise each image is its own patient."""
    num_val: int = Field(4, ge=0)
    """Training images set aside to choose checkpoint, threshold and ensemble rule; their scores are optimistic. Whole
    patients are taken until there are at least this many images. With 0, models need `keep: last`. Not used where the
    data set itself names validation images."""
    num_holdout: int = Field(4, ge=0)
    """Training images set aside for scoring only, whole patients again. With unlabelled test images these are the only
    unbiased labels."""
    split_seed: int = Field(0, ge=0)
    """Seed of the cut."""
    num_folds: int | None = Field(None, ge=2)
    """Cut `val` as one of so many folds instead of `num_val` images, for cross-validation; first goes the hold-out. A
    patient is in one fold only."""
    fold: int = Field(0, ge=0)
    """Which fold is `val`, from 0."""

    @field_validator("group_pattern")
    @classmethod
    def _one_capture_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                num_groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"not a regular expression ({error})") from error
            if num_groups != 1:
                raise ValueError(f"{num_groups} capture groups; put the patient, and only that, in parentheses")
        return pattern

    @model_validator(mode="after")
    def _phantoms_suffice(self) -> "DataSettings":
        if self.source == "phantom" and self.num_folds is None:
            set_aside = self.num_val + self.num_holdout
            if set_aside >= self.phantom.num_train:
                raise ValueError(f"{set_aside} images set aside leave none of {self.phantom.num_train} to train on")
        return self

    @model_validator(mode="after")
    def _fold_exists(self) -> "DataSettings":
        if self.num_folds is not None and self.fold >= self.num_folds:
            raise ValueError(f"fold {self.fold} does not exist among {self.num_folds} folds, counted from 0")
        return self

    def cut(self, groups: Mapping[str, str], given: "Mapping[str, Split] | None" = None) -> "dict[str, Split]":
        """Which split each training image belongs to.

        Args:
            groups: the group of each training image by its name.
            given: images that the data set itself sets aside; they keep their split, and none is added to it. With
                `num_folds`, its validation images take part in the folds.

        Raises:
            DatasetError: there are too few images or groups for the cut.
        """
        from segkit.data import splits

        kept = {name: split for name, split in (given or {}).items() if split != "val" or self.num_folds is None}
        rest = {name: group for name, group in groups.items() if name not in kept}
        num_val = 0 if "val" in kept.values() else self.num_val
        num_holdout = 0 if "holdout" in kept.values() else self.num_holdout
        if self.num_folds is not None:
            return splits.fold(rest, self.num_folds, self.fold, num_holdout, self.split_seed) | kept
        return splits.cut(rest, num_val, num_holdout, self.split_seed) | kept


Augmentation = Literal["none", "flips", "paper", "strong", "photo"]


class TrainingDataSettings(Settings):
    """Which images a phase of training draws, and how they are varied."""

    data: Literal["real", "synthetic", "mixed"] = "real"
    """Real training images, synthetic ones, or both in every epoch."""
    num_synthetic: int | None = Field(None, ge=1)
    """How many synthetic images to use, the first ones by seed; all by default."""
    synthetic_share: float = Field(0.5, gt=0, lt=1)
    """`mixed`: at most this share of an epoch's images is synthetic; all real images are always in it."""
    synthetic_weight: float = Field(1.0, gt=0)
    """Factor on the loss of synthetic images."""
    pseudo_labels: Literal["hard", "soft", "confidence"] = "soft"
    """Teacher's map as 0/1 at its threshold, as probabilities, or hard with each pixel weighted by |2p - 1|."""
    augmentation: Augmentation = "flips"
    crop_size: int | None = Field(None, ge=16)
    """Train on random squares of this many pixels; whole images by default."""
    images_per_epoch: int | None = Field(None, ge=1)
    """Length of an epoch in images; each recurs only when all have been drawn. By default each image once."""
    batch_size: int = Field(2, ge=1)
    """Global batch, over all devices."""


class GeometrySettings(Settings):
    """From an image's own size to the network's and back."""

    mode: Literal["pad", "resize"] = "pad"
    """`pad` keeps every pixel and pads to the network's stride; `resize` squeezes into `size` squared (the paper)."""
    size: int | None = Field(None, ge=16)
    """`resize`: the side of the square the network sees. `pad`: not used."""

    @model_validator(mode="after")
    def _size_for_resize(self) -> "GeometrySettings":
        if (self.mode == "resize") != (self.size is not None):
            raise ValueError("`size` belongs to mode `resize`, and `resize` needs it")
        return self
