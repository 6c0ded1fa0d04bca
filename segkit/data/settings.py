"""Settings of the data: images, splits, and the network's input size."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from segkit.core.config import Settings

if TYPE_CHECKING:
    from segkit.core.manifest import Split


class PhantomSettings(Settings):
    """A data set that segkit draws."""

    num_train: int = Field(12, ge=2)
    num_test: int = Field(4, ge=0)
    height: int = Field(146, ge=48)
    width: int = Field(141, ge=48)
    seed: int = Field(0, ge=0)
    classes: Literal["binary", "multiclass"] = "binary"
    """Vessels alone in DRIVE's form, or background, vessel and optic disc in a folder with `classes.yaml`."""

    @property
    def training_groups(self) -> dict[str, str]:
        """The patient of each training image, each its own, by a number in place of the image's name."""
        return {str(number): str(number) for number in range(self.num_train)}


class DataSettings(Settings):
    """The labelled images and the splits cut from them."""

    source: str | None = None
    """`NAME:DIR`, as in `drive:/data/DRIVE`, or `phantom` to draw one; `--data` on the command line sets it."""
    phantom: PhantomSettings = PhantomSettings()
    """The data set of `source: phantom`."""
    group_pattern: str | None = None
    """Regular expression whose one capture group is the patient in each image's name, as in `^(p[0-9]+)_`. A split
    never divides the images of a patient. By default `groups.csv` in the data set's folder is used (columns `image` and
    `group`), then CHASE_DB1's names (both eyes of a child); otherwise each image is its own patient."""
    num_val: int = Field(4, ge=0)
    """Training images set aside to choose checkpoint, threshold and ensemble rule; their scores are optimistic. Whole
    patients are taken until there are at least this many images. With 0, models need `keep: last`. Not used where the
    data set itself names validation images."""
    val_names: tuple[str, ...] = ()
    """Names of the validation images, as in [37_training, 38_training], instead of `num_val` images by `split_seed`;
    `segkit data check` prints all names."""
    num_holdout: int = Field(4, ge=0)
    """Training images set aside for scoring only, whole patients as well. If test images have no labels, only these
    give unbiased scores."""
    holdout_names: tuple[str, ...] = ()
    """Names of the held-out images, instead of `num_holdout` images by `split_seed`."""
    split_seed: int = Field(0, ge=0)
    """Seed of the split."""
    num_folds: int | None = Field(None, ge=2)
    """Number of folds for cross-validation: `val` is one fold, instead of `num_val` images, after the hold-out
    images are removed. A patient is in one fold only."""
    fold: int = Field(0, ge=0)
    """The fold that is `val`, from 0."""

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

        fixed = self._fixed_splits(groups, given or {})
        kept = {name: split for name, split in fixed.items() if split != "val" or self.num_folds is None}
        rest = {name: group for name, group in groups.items() if name not in kept}
        num_val = 0 if "val" in kept.values() else self.num_val
        num_holdout = 0 if "holdout" in kept.values() else self.num_holdout
        if self.num_folds is not None:
            return splits.fold(rest, self.num_folds, self.fold, num_holdout, self.split_seed) | kept
        return splits.cut(rest, num_val, num_holdout, self.split_seed) | kept

    def _fixed_splits(self, groups: Mapping[str, str], given: "Mapping[str, Split]") -> "dict[str, Split]":
        """The splits fixed by name: the data set's own, replaced by `val_names` and `holdout_names` where given."""
        from segkit.core.errors import DatasetError

        named: dict[Split, tuple[str, ...]] = {"val": self.val_names, "holdout": self.holdout_names}
        replaced = {split for split, names in named.items() if names}
        fixed = {name: split for name, split in given.items() if split not in replaced}
        for split, names in named.items():
            for name in names:
                if name not in groups:
                    raise DatasetError(
                        f"data.{split}_names: no training image is called {name!r}; give names such as "
                        f"{min(groups)}, as `segkit data check` prints them"
                    )
                fixed[name] = split
            patients = {groups[name] for name in names}
            if divided := [name for name, group in groups.items() if group in patients and name not in names]:
                raise DatasetError(
                    f"data.{split}_names leaves out {divided[0]}, an image of a patient that it names; add it, since "
                    "a split never divides a patient"
                )
        if replaced and len(fixed) == len(groups):
            raise DatasetError("data.val_names and data.holdout_names leave no image to train on; name fewer")
        return fixed


Augmentation = Literal["none", "flips", "symmetries", "rotations", "paper", "strong", "photo", "camera"]


class TrainingDataSettings(Settings):
    """The training images of a phase and their augmentation."""

    data: Literal["real", "synthetic", "mixed"] = "real"
    """Real training images, synthetic ones, or both in every epoch."""
    num_synthetic: int | None = Field(None, ge=1)
    """Number of synthetic images, the first ones by seed; all by default."""
    synthetic_share: float = Field(0.5, gt=0, lt=1)
    """`mixed`: maximum share of synthetic images in an epoch; all real images are always used."""
    synthetic_weight: float = Field(1.0, gt=0)
    """Factor on the loss of synthetic images."""
    pseudo_labels: Literal["hard", "soft", "confidence"] = "soft"
    """The teacher's map: 0 and 1 at its threshold, probabilities, or hard with pixel weights |2p - 1|."""
    augmentation: Augmentation = "flips"
    synthetic_augmentation: Augmentation | None = Field(None, exclude_if=lambda value: value is None)
    """That of synthetic images, if it is another one. The control of a `synthetic` phase has it too; that of a `mixed`
    phase varies all its images by `augmentation`."""
    crop_size: int | None = Field(None, ge=16)
    """Train on random squares of this many pixels; whole images by default."""
    crop_positive_prob: float = Field(0.0, ge=0, le=1)
    """Chance that a crop's centre is drawn among the pixels of a class other than the background, such as vessels.
    Otherwise every place in the region is as likely as any other."""
    crop_region_share: float = Field(0.5, ge=0, le=1)
    """Smallest share of a crop that lies inside the region: 0 allows every place of the image, 1 only whole crops."""
    crops_per_image: int | None = Field(None, ge=1)
    """Crops that an epoch takes from each image; 1 by default."""
    images_per_epoch: int | None = Field(None, ge=1)
    """Images or crops per epoch; an image is repeated only after all others. By default each image once."""
    batch_size: int = Field(2, ge=1)
    """Global batch, over all devices."""

    @property
    def augmentations(self) -> tuple[Augmentation, Augmentation]:
        """Of real images and of synthetic ones. In a `synthetic` phase real images only replace synthetic ones."""
        synthetic = self.synthetic_augmentation or self.augmentation
        return synthetic if self.data == "synthetic" else self.augmentation, synthetic

    @model_validator(mode="after")
    def _crops_have_a_size(self) -> "TrainingDataSettings":
        if self.crop_size is None and (self.crop_positive_prob > 0 or self.crops_per_image is not None):
            raise ValueError("crop_positive_prob and crops_per_image are for random crops; set crop_size too")
        if self.crops_per_image is not None and self.images_per_epoch is not None:
            raise ValueError("crops_per_image and images_per_epoch both give the length of an epoch; set one of them")
        return self


class GeometrySettings(Settings):
    """Conversion from an image's size to the network's and back."""

    mode: Literal["pad", "resize"] = "pad"
    """`pad` keeps every pixel and pads to the network's stride; `resize` scales to `size` x `size` (the paper)."""
    size: int | None = Field(None, ge=16)
    """`resize`: side of the network's input. `pad`: its smallest side, if any; larger images keep their size."""

    @model_validator(mode="after")
    def _size_for_resize(self) -> "GeometrySettings":
        if self.mode == "resize" and self.size is None:
            raise ValueError("`resize` needs a `size`")
        return self


MAX_ZCA_VALUES = 64 * 64
"""Values of the largest patch that can be whitened: the matrix holds the square of it."""


class PreprocessingSettings(Settings):
    """What is done to an image before the network, in this order. Part of the model: prediction repeats it."""

    channels: Literal["rgb", "green", "grey"] = "rgb"
    """Colour, the green channel alone, or 0.299 R + 0.587 G + 0.114 B. It sets the network's `image_channels`."""
    clahe_clip_limit: float | None = Field(None, gt=0)
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) with this limit, as OpenCV counts it: 2 is
    common. Of a colour image only the lightness (CIELAB) is equalised. None by default."""
    clahe_grid: int = Field(8, ge=1)
    """Histograms of CLAHE along each side of the image."""
    gamma: float = Field(1.0, gt=0)
    """Values from 0 to 1 are raised to this power; below 1 brightens."""
    normalization: Literal["none", "image", "patch", "dataset", "zca"] = "none"
    """`image`, `patch` and `dataset` give each channel mean 0 and standard deviation 1: inside the region of each
    image, in each patch, or inside the regions of all real training images together. `zca` decorrelates all values of
    a patch, also by the real training images (Krizhevsky 2009)."""
    patch_size: int | None = Field(None, ge=16)
    """The network sees only patches of this side: it is trained on crops of this size, validated and used on
    overlapping tiles of it. `patch` and `zca` need it."""
    zca_num_patches: int = Field(10_000, ge=2)
    """Random patches that the whitening is computed from."""
    zca_epsilon: float = Field(1e-3, gt=0)
    """Added to the variances that `zca` divides by, in squared image values from 0 to 1; more whitens less of the fine
    detail, which is mostly noise."""

    @property
    def num_channels(self) -> int:
        """Channels of the image that the network sees."""
        return 3 if self.channels == "rgb" else 1

    @model_validator(mode="after")
    def _patches_have_a_size(self) -> "PreprocessingSettings":
        if self.normalization in ("patch", "zca") and self.patch_size is None:
            raise ValueError(f"normalization: {self.normalization} needs patch_size, which is also the crops' size")
        if self.normalization == "zca":
            assert self.patch_size is not None
            if (values := self.num_channels * self.patch_size**2) > MAX_ZCA_VALUES:
                raise ValueError(
                    f"patch_size {self.patch_size} gives zca {values} values, more than {MAX_ZCA_VALUES}; "
                    "use smaller patches, or channels: green"
                )
        return self


NO_PREPROCESSING = PreprocessingSettings()
"""The image as it is, in colour."""
