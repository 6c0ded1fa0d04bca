"""Patients: where their names come from, and that nothing divides them."""

import math
import random
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from segkit.core.config import validate
from segkit.core.errors import ConfigError, DatasetError
from segkit.data import phantom, readers, splits
from segkit.data.settings import DataSettings
from tests.data import chase


def children_by_split(split_of: dict[str, str]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for name, split in split_of.items():
        found[split].add(chase.child(name))
    return found


@pytest.fixture(scope="module")
def chase_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chase.write(tmp_path_factory.mktemp("chase"))


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms") / "DRIVE"
    phantom.write_dataset(root, num_train=3, num_test=2, height=48, width=52)
    return root


def test_both_eyes_of_a_chase_child_are_one_group(chase_dir: Path) -> None:
    dataset = readers.open_dataset(f"folder:{chase_dir}")
    assert len(dataset.rows) == 28
    assert dataset.num_groups == 14
    by_name = dataset.training_groups
    for number in range(1, 15):
        assert by_name[f"Image_{number:02d}L"] == by_name[f"Image_{number:02d}R"]


def test_chase_s_names_in_small_letters_are_grouped_as_well(tmp_path: Path) -> None:
    chase.write(tmp_path, [name.lower() for name in chase.NAMES[:4]])
    assert readers.open_dataset(f"folder:{tmp_path}").num_groups == 2


def test_no_cut_divides_a_child(chase_dir: Path) -> None:
    groups = readers.open_dataset(f"folder:{chase_dir}").training_groups
    for seed in range(60):
        for num_val, num_holdout in ((1, 0), (2, 3), (4, 4), (5, 7), (13, 12)):
            cut = splits.cut(groups, num_val, num_holdout, seed)
            found = children_by_split(dict(cut))
            assert (
                not found["val"] & found["holdout"] | found["val"] & found["train"] | found["holdout"] & found["train"]
            )
            counts = Counter(cut.values())
            assert (counts["val"], counts["holdout"]) == (2 * math.ceil(num_val / 2), 2 * math.ceil(num_holdout / 2))


def test_no_fold_divides_a_child_and_each_is_validated_once(chase_dir: Path) -> None:
    groups = readers.open_dataset(f"folder:{chase_dir}").training_groups
    for seed in range(30):
        for num_folds, num_holdout in ((2, 0), (5, 3), (7, 1), (14, 0)):
            folds = [splits.fold(groups, num_folds, fold, num_holdout, seed) for fold in range(num_folds)]
            validated = [child for fold in folds for child in children_by_split(dict(fold))["val"]]
            for fold in folds:
                found = children_by_split(dict(fold))
                assert not found["val"] & found["train"]
                assert found["holdout"] == children_by_split(dict(folds[0]))["holdout"]
                assert not found["holdout"] & (found["val"] | found["train"])
            assert len(validated) == len(set(validated)) == 14 - math.ceil(num_holdout / 2)


def test_groups_of_any_sizes_stay_whole_and_numbers_are_met_from_below() -> None:
    rng = random.Random(0)
    for seed in range(100):
        groups = {f"{g}-{i}": f"p{g}" for g in range(rng.randint(6, 12)) for i in range(rng.randint(1, 4))}
        num_val, num_holdout = rng.randint(1, 4), rng.randint(0, 4)
        cut = splits.cut(groups, num_val, num_holdout, seed)
        assert all(len({cut[name] for name in groups if groups[name] == group}) == 1 for group in groups.values())
        largest, counts = max(Counter(groups.values()).values()), Counter(cut.values())
        assert num_val <= counts["val"] < num_val + largest
        assert num_holdout <= counts["holdout"] < num_holdout + largest
        sizes = [Counter(splits.fold(groups, 4, fold, 0, seed).values())["val"] for fold in range(4)]
        assert sum(sizes) == len(groups)
        assert max(sizes) - min(sizes) <= largest


def test_a_larger_hold_out_leaves_the_validation_children_alone(chase_dir: Path) -> None:
    groups = readers.open_dataset(f"folder:{chase_dir}").training_groups
    few, many = (splits.cut(groups, 3, num_holdout, seed=4) for num_holdout in (0, 9))
    assert children_by_split(dict(few))["val"] == children_by_split(dict(many))["val"]


@pytest.mark.parametrize(("num_val", "num_holdout"), [(3, 1), (1, 3), (5, 0), (1, 9)])
def test_three_patients_with_two_images_each_allow_only_two_to_be_set_aside(num_val: int, num_holdout: int) -> None:
    groups = {f"{group}{eye}": group for group in "abc" for eye in "LR"}
    splits.cut(groups, 1, 1)
    with pytest.raises(DatasetError, match="6 images of 3 patients"):
        splits.cut(groups, num_val, num_holdout)
    with pytest.raises(DatasetError, match="patients"):
        splits.fold(groups, 4, 0)


def test_the_images_of_drive_and_of_other_names_are_their_own_groups(phantoms: Path, tmp_path: Path) -> None:
    chase.write(tmp_path, ["p1_left", "p1_right", "Image_1", "xImage_01L"])
    for text in (f"drive:{phantoms}", f"folder:{tmp_path}"):
        assert all(row.group == row.name for row in readers.open_dataset(text).rows)


def test_a_pattern_finds_the_patient_in_the_names(tmp_path: Path, phantoms: Path) -> None:
    chase.write(tmp_path, ["p1_left", "p1_right", "p20_left"])
    dataset = readers.open_dataset(f"folder:{tmp_path}", "^(p[0-9]+)_")
    assert [row.group for row in dataset.rows] == ["p1", "p1", "p20"]
    assert readers.open_dataset(f"drive:{phantoms}", "(training|0.)").num_groups == 3
    with pytest.raises(DatasetError, match="p20_left"):
        readers.open_dataset(f"folder:{tmp_path}", "(p1)")


@pytest.mark.parametrize("pattern", ["p1", "(p)(1)", "(p1"])
def test_a_pattern_without_exactly_one_group_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match="group_pattern"):
        validate(DataSettings, {"group_pattern": pattern}, "test")
    with pytest.raises(DatasetError, match="group_pattern"):
        readers.open_dataset(f"folder:{chase.write(tmp_path, ['p1', 'p2'])}", pattern)


def test_a_table_beside_the_images_gives_the_patients_and_changes_the_digest(tmp_path: Path) -> None:
    chase.write(tmp_path, ["a", "b", "c"])
    plain = readers.open_dataset(f"folder:{tmp_path}")
    (tmp_path / "groups.csv").write_text("group,image\nann,b\nbob,a.png\nann,c.png\n")
    dataset = readers.open_dataset(f"folder:{tmp_path}")
    assert [row.group for row in dataset.rows] == ["bob", "ann", "ann"]
    assert dataset.digest != plain.digest
    with pytest.raises(DatasetError, match="keep one"):
        readers.open_dataset(f"folder:{tmp_path}", "(.)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,group\na,1\n", "columns name, group"),
        ("image,group\na,1\n", "does not list b and c"),
        ("image,group\na,1\nb,1\nc,1\nd,1\n", "lists 'd'"),
        ("image,group\na,1\na.png,1\nb,1\nc,1\n", "lists twice 'a.png'"),
        ("image,group\na,1\nb,\nc,1\n", "no group for 'b'"),
        ("image,group\na,1\nb\nc,1\n", "no group for 'b'"),
        ("", "columns none"),
    ],
)
def test_a_table_that_does_not_fit_the_images_is_refused(tmp_path: Path, text: str, words: str) -> None:
    chase.write(tmp_path, ["a", "b", "c"])
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        readers.open_dataset(f"folder:{tmp_path}")


def test_a_table_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    chase.write(tmp_path, ["a", "b", "c"])
    (tmp_path / "groups.csv").write_bytes("image,group\na,M\xfcller\nb,B\nc,C\n".encode("latin-1"))
    with pytest.raises(DatasetError, match="UTF-8"):
        readers.open_dataset(f"folder:{tmp_path}")


@pytest.mark.parametrize("place", ["training/groups.csv", "test/images/groups.csv", "Groups.CSV"])
def test_a_table_that_would_not_be_read_is_refused(tmp_path: Path, place: str) -> None:
    chase.write(tmp_path / "training", ["a", "b"])
    chase.write(tmp_path / "test", ["c"])
    (tmp_path / place).write_text("image,group\na,1\nb,2\nc,1\n")
    with pytest.raises(DatasetError, match=rf"{place} is not read; .* belongs at {tmp_path / 'groups.csv'}"):
        readers.open_dataset(f"folder:{tmp_path}")


def test_a_table_gives_the_patients_of_a_data_set_in_the_form_of_drive(phantoms: Path, tmp_path: Path) -> None:
    copy = tmp_path / "phantoms"
    shutil.copytree(phantoms, copy)
    names = [row.name for row in readers.open_dataset(f"drive:{copy}").rows]
    rows = [f"{name},{name[-4:]}\n" for name in names]
    (copy / "groups.csv").write_text("image,group\n" + "".join(rows))
    dataset = readers.read(f"drive:{copy}")
    assert {row.group for row in dataset.rows} == {"ning", "test"}
    assert dataset.digest != readers.read(f"drive:{phantoms}").digest


def test_a_patient_with_training_and_test_images_is_refused(tmp_path: Path) -> None:
    chase.write(tmp_path / "training", chase.NAMES[:5])
    chase.draw(tmp_path / "test" / "images" / "Image_03R.png", 5)
    with pytest.raises(DatasetError, match="Image_03L, Image_03R"):
        readers.open_dataset(f"folder:{tmp_path}")
