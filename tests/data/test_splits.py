import random

import pytest

from segkit.core.errors import DatasetError
from segkit.data import splits
from segkit.data.settings import DataSettings

NAMES = [f"{number}_training" for number in range(21, 41)]
SINGLE = {name: name for name in NAMES}


def test_a_cut_has_the_sizes_asked_for() -> None:
    cut = splits.cut(SINGLE, num_val=4, num_holdout=3, seed=1)
    assert sorted(cut) == NAMES
    assert {split: list(cut.values()).count(split) for split in ("train", "val", "holdout")} == {
        "train": 13,
        "val": 4,
        "holdout": 3,
    }


def test_a_cut_does_not_depend_on_the_listing_order() -> None:
    shuffled = {name: name for name in random.Random(0).sample(NAMES, len(NAMES))}
    assert splits.cut(shuffled, 4, 2, seed=5) == splits.cut(SINGLE, 4, 2, seed=5)
    assert list(splits.cut(shuffled, 4, 2, seed=5)) == NAMES


def test_a_cut_stays_what_it_was_when_it_was_recorded() -> None:
    cut = splits.cut(SINGLE, num_val=4, seed=0)
    assert [name[:2] for name, split in cut.items() if split == "val"] == ["22", "25", "37", "40"]


def test_every_image_is_validated_under_some_seed_and_seeds_differ() -> None:
    cuts = [splits.cut(SINGLE, 4, seed=seed) for seed in range(40)]
    chosen = [name for cut in cuts for name, split in cut.items() if split == "val"]
    assert set(chosen) == set(NAMES)
    assert max(chosen.count(name) for name in NAMES) < 20  # 8 expected of 40


def test_more_held_out_images_leave_the_validation_images_alone() -> None:
    few, many = (splits.cut(SINGLE, 4, num_holdout, seed=2) for num_holdout in (0, 6))
    assert [n for n in NAMES if few[n] == "val"] == [n for n in NAMES if many[n] == "val"]


def test_folds_validate_every_image_once_and_share_the_held_out_ones() -> None:
    folds = [splits.fold(SINGLE, num_folds=4, fold=fold, num_holdout=2, seed=3) for fold in range(4)]
    held_out = {name for name in NAMES if folds[0][name] == "holdout"}
    assert len(held_out) == 2
    for name in NAMES:
        roles = [fold[name] for fold in folds]
        assert sorted(roles) == (["holdout"] * 4 if name in held_out else ["train"] * 3 + ["val"])
    assert {list(fold.values()).count("val") for fold in folds} == {4, 5}


@pytest.mark.parametrize(("num_val", "num_holdout"), [(20, 0), (15, 5), (-1, 0), (4, -1)])
def test_a_cut_that_leaves_nothing_to_train_on_is_refused(num_val: int, num_holdout: int) -> None:
    with pytest.raises(DatasetError, match="cannot be cut from 20"):
        splits.cut(SINGLE, num_val, num_holdout)


def test_wrong_folds_are_refused() -> None:
    with pytest.raises(DatasetError, match="no fold 5 of 5"):
        splits.fold(SINGLE, 5, 5)
    with pytest.raises(DatasetError, match="cannot be cut into 21 folds"):
        splits.fold(SINGLE, 21, 0)


def test_each_image_is_left_out_by_one_fold_and_patients_are_never_divided() -> None:
    groups = {f"{patient}{eye}": patient for patient in "abcdefg" for eye in "LR"} | {"single": "single"}
    cuts = [splits.leave_fold_out(groups, 4, fold, num_val=3, seed=1) for fold in range(4)]
    for name in groups:
        assert [chosen[name] for chosen in cuts].count("out-of-fold") == 1
    for chosen in cuts:
        assert list(chosen.values()).count("val") in (3, 4)
        for patient in set(groups.values()):
            assert len({chosen[name] for name, group in groups.items() if group == patient}) == 1


def test_folds_validate_with_different_images() -> None:
    groups = {name: name for name in "abcdefgh"}
    cuts = [splits.leave_fold_out(groups, 4, fold, num_val=2) for fold in range(4)]
    validating = [name for chosen in cuts for name, split in chosen.items() if split == "val"]
    assert sorted(validating) == sorted(groups)


@pytest.mark.parametrize(("num_folds", "fold", "num_val"), [(3, 3, 1), (9, 8, 1), (2, 0, 4), (2, 0, -1)])
def test_a_fold_that_leaves_nothing_out_or_nothing_to_train_on_is_refused(
    num_folds: int, fold: int, num_val: int
) -> None:
    with pytest.raises(DatasetError):
        splits.leave_fold_out({name: name for name in "abcdefgh"}, num_folds, fold, num_val)


def test_validation_images_can_be_named() -> None:
    named = ("37_training", "38_training", "39_training", "40_training")
    chosen = DataSettings(num_holdout=0, num_val=2, val_names=named).cut(SINGLE)
    assert {name for name, split in chosen.items() if split == "val"} == set(named)
    assert list(chosen.values()).count("train") == 16


def test_held_out_images_can_be_named_beside_validation_images_by_number() -> None:
    chosen = DataSettings(num_val=3, holdout_names=("21_training", "22_training")).cut(SINGLE)
    assert [name for name, split in chosen.items() if split == "holdout"] == ["21_training", "22_training"]
    assert list(chosen.values()).count("val") == 3


def test_named_validation_images_replace_those_of_the_data_set() -> None:
    chosen = DataSettings(num_holdout=0, val_names=("37_training",)).cut(SINGLE, {"21_training": "val"})
    assert [name for name, split in chosen.items() if split == "val"] == ["37_training"]


@pytest.mark.parametrize(
    "names", [("37",), tuple(NAMES), ("aL",)], ids=["unknown", "nothing to train on", "half a patient"]
)
def test_names_that_make_no_validation_part_are_refused(names: tuple[str, ...]) -> None:
    groups = {"aL": "a", "aR": "a", "b": "b"} if names == ("aL",) else SINGLE
    with pytest.raises(DatasetError):
        DataSettings(num_holdout=0, val_names=names).cut(groups)
