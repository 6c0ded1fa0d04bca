"""Splits of training images, as pure functions of names, groups and seed.

A group is a patient: all its images are in the same split. Groups are ordered by sha256(seed, group), so the order does
not depend on the order of files or on a random generator, and changes little when an image is added. Groups are added
to a split until it has at least the required number of images.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from segkit.core.errors import DatasetError
from segkit.core.manifest import Split
from segkit.core.wording import counted_images


def cut(groups: Mapping[str, str], num_val: int, num_holdout: int = 0, seed: int = 0) -> dict[str, Split]:
    """Select at least `num_val` validation and `num_holdout` held-out images; the other training images are "train".

    The validation images do not depend on `num_holdout`. The keys are sorted.

    `groups` is the group of each training image by the image's name; a number is exceeded by less than one group.

    Raises:
        DatasetError: a number is negative, or no group is left to train on.
    """
    sizes, ordered = Counter(groups.values()), shuffled(groups.values(), seed)
    num_val_groups = _num_groups(ordered, sizes, num_val)
    val, rest = ordered[:num_val_groups], ordered[num_val_groups:]
    num_holdout_groups = _num_groups(rest, sizes, num_holdout)
    if min(num_val, num_holdout) < 0 or num_holdout_groups >= len(rest):
        raise DatasetError(
            f"{num_val} validation and {num_holdout} held-out images cannot be cut from"
            f" {counted_images(len(groups), len(sizes))} with one left to train on;"
            " reduce data.num_val or data.num_holdout"
        )
    return _splits(groups, val, rest[:num_holdout_groups])


def fold(groups: Mapping[str, str], num_folds: int, fold: int, num_holdout: int = 0, seed: int = 0) -> dict[str, Split]:
    """Fold `fold` (from 0) of `num_folds`: every image that is not held out is in `val` of exactly one fold.

    At least `num_holdout` images are held out, the same in all folds. Each group goes to the fold with the fewest
    images, so fold sizes differ by at most one group. The keys are sorted.

    Raises:
        DatasetError: there is no such fold, or there are fewer groups than folds.
    """
    sizes, ordered = Counter(groups.values()), shuffled(groups.values(), seed)
    if not 0 <= fold < num_folds:
        raise DatasetError(f"there is no fold {fold} of {num_folds}; folds are 0 to {num_folds - 1}")
    num_holdout_groups = _num_groups(ordered, sizes, num_holdout)
    holdout, rest = ordered[:num_holdout_groups], ordered[num_holdout_groups:]
    if num_folds < 2 or num_holdout < 0 or len(rest) < num_folds:
        unit = "images" if len(sizes) == len(groups) else "patients"
        raise DatasetError(
            f"{counted_images(len(groups), len(sizes))} less {num_holdout} held out cannot be cut into {num_folds}"
            f" folds; use at least 2 folds and at most the number of {unit}"
        )
    return _splits(groups, _folds(rest, sizes, num_folds)[fold], holdout)


def leave_fold_out(
    groups: Mapping[str, str], num_folds: int, fold: int, num_val: int, seed: int = 0
) -> dict[str, Split]:
    """Fold `fold` (from 0) of `num_folds` is "out-of-fold"; the folds after it yield at least `num_val` "val" images.

    Every image is left out by exactly one fold, and validates about as often as any other. The rest is "train". The
    keys are sorted.

    Raises:
        DatasetError: there is no such fold, or no group is left to train on.
    """
    sizes, ordered = Counter(groups.values()), shuffled(groups.values(), seed)
    if not 0 <= fold < num_folds:
        raise DatasetError(f"there is no fold {fold} of {num_folds}; folds are 0 to {num_folds - 1}")
    folds = _folds(ordered, sizes, num_folds)
    others = [group for number in range(fold + 1, fold + num_folds) for group in folds[number % num_folds]]
    num_val_groups = _num_groups(others, sizes, num_val)
    if not folds[fold] or num_val < 0 or num_val_groups >= len(others):
        raise DatasetError(
            f"{counted_images(len(groups), len(sizes))} cannot be cut into {num_folds} folds with {num_val} validation"
            " images and one left to train on; reduce num_folds or data.num_val"
        )
    return _splits(groups, others[:num_val_groups], folds[fold], left_out="out-of-fold")


def _folds(ordered: Sequence[str], sizes: Mapping[str, int], num_folds: int) -> list[list[str]]:
    """The groups of each fold: every group goes to the fold with the fewest images."""
    folds: list[list[str]] = [[] for _ in range(num_folds)]
    num_images = [0] * num_folds
    for group in ordered:
        smallest = num_images.index(min(num_images))
        folds[smallest].append(group)
        num_images[smallest] += sizes[group]
    return folds


def shuffled(groups: Iterable[str], seed: int) -> list[str]:
    """The different groups in the order of sha256(seed, group)."""
    return sorted(set(groups), key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())


def _num_groups(ordered: Sequence[str], sizes: Mapping[str, int], num_images: int) -> int:
    """Number of first groups that have at least `num_images` images; one more than exist if all have fewer."""
    total = 0
    for number, group in enumerate(ordered):
        if total >= num_images:
            return number
        total += sizes[group]
    return len(ordered) + (total < num_images)


def _splits(
    groups: Mapping[str, str], val: Sequence[str], others: Sequence[str], left_out: Split = "holdout"
) -> dict[str, Split]:
    of_group: dict[str, Split] = {**dict.fromkeys(val, "val"), **dict.fromkeys(others, left_out)}
    return {name: of_group.get(groups[name], "train") for name in sorted(groups)}
