"""Which training image serves for what: cuts and folds as pure functions of names and seed.

The order is that of sha256(seed, name): it depends on no listing order, on no library's random generator, and an image
added to the data set hardly moves the others.
"""

import hashlib
from collections.abc import Iterable

from segkit.core.errors import DatasetError
from segkit.core.manifest import Split


def cut(names: Iterable[str], num_val: int, num_holdout: int = 0, seed: int = 0) -> dict[str, Split]:
    """Cut `num_val` validation and `num_holdout` held-out images from the training names; the rest is "train".

    The validation images do not depend on `num_holdout`. The keys are sorted.

    Raises:
        DatasetError: a name occurs twice, a number is negative, or nothing is left to train on.
    """
    ordered = shuffled(names, seed)
    if min(num_val, num_holdout) < 0 or num_val + num_holdout >= len(ordered):
        raise DatasetError(
            f"{num_val} validation and {num_holdout} held-out images cannot be cut from {len(ordered)}"
            " with one left to train on; ask for fewer"
        )
    val, holdout = set(ordered[:num_val]), set(ordered[num_val : num_val + num_holdout])
    return {name: _split(name, val, holdout) for name in sorted(ordered)}


def fold(names: Iterable[str], num_folds: int, fold: int, num_holdout: int = 0, seed: int = 0) -> dict[str, Split]:
    """Fold `fold` (from 0) of `num_folds`: every image outside the held-out ones is validated in exactly one fold.

    The held-out images are the same in all folds; fold sizes differ by at most one. The keys are sorted.

    Raises:
        DatasetError: a name occurs twice, or there are fewer images than folds.
    """
    ordered = shuffled(names, seed)
    if not 0 <= fold < num_folds:
        raise DatasetError(f"there is no fold {fold} of {num_folds}; folds are 0 to {num_folds - 1}")
    if num_folds < 2 or num_holdout < 0 or len(ordered) - num_holdout < num_folds:
        raise DatasetError(
            f"{len(ordered)} images less {num_holdout} held out cannot be cut into {num_folds} folds;"
            " use at least 2 folds and no more than there are images"
        )
    holdout, rest = set(ordered[:num_holdout]), ordered[num_holdout:]
    return {name: _split(name, set(rest[fold::num_folds]), holdout) for name in sorted(ordered)}


def shuffled(names: Iterable[str], seed: int) -> list[str]:
    """The names in the order of sha256(seed, name).

    Raises:
        DatasetError: a name occurs twice.
    """
    listed = list(names)
    if len(set(listed)) != len(listed):
        twice = sorted({name for name in listed if listed.count(name) > 1})
        raise DatasetError(f"the name {twice[0]} occurs twice; names must differ")
    return sorted(listed, key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode()).digest())


def _split(name: str, val: set[str], holdout: set[str]) -> Split:
    if name in val:
        return "val"
    return "holdout" if name in holdout else "train"
