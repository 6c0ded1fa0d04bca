"""A folder whose `classes.yaml` names several classes."""

from pathlib import Path

import numpy as np
import pytest

from segkit.core import images
from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import ConfigError, DatasetError
from segkit.data import readers
from tests.data import chase

YAML = "kind: multiclass\nnames: [background, artery, vein]\nignored: 255\n"
CLASSES = Classes(kind="multiclass", names=("background", "artery", "vein"), ignored=255)


def write(root: Path, names: tuple[str, ...] = ("a", "b"), text: str = YAML) -> Path:
    """Photographs of noise with random class maps, some of whose pixels are ignored."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        chase.draw(root / "images" / f"{name}.png", number)
        indices = rng.choice(np.array([0, 1, 2, 255], np.uint8), chase.SIZE)
        images.write_indices(root / "masks" / f"{name}.png", indices, CLASSES.palette)
    (root / "classes.yaml").write_text(text)
    return root


def test_the_classes_are_read_and_their_shares_reported(tmp_path: Path) -> None:
    dataset = readers.open_dataset(f"folder:{write(tmp_path)}")
    assert dataset.classes == CLASSES
    indices = images.read_indices(tmp_path / "masks" / "a.png")
    assert readers.check(dataset).reports[0].class_shares == {
        name: pytest.approx((indices == index).mean()) for index, name in enumerate(CLASSES.names)
    }


def test_without_classes_yaml_label_maps_mark_vessels(tmp_path: Path) -> None:
    assert readers.open_dataset(f"folder:{chase.write(tmp_path, ['a', 'b'])}").classes == VESSEL


def test_other_classes_are_another_data_set(tmp_path: Path) -> None:
    before = readers.open_dataset(f"folder:{write(tmp_path)}").digest
    (tmp_path / "classes.yaml").write_text(YAML.replace("vein", "disc"))
    assert readers.open_dataset(f"folder:{tmp_path}").digest != before


def test_a_label_that_is_no_class_is_a_finding_that_names_the_file(tmp_path: Path) -> None:
    write(tmp_path)
    indices = np.zeros(chase.SIZE, np.uint8)
    indices[3, 4] = 7
    images.write_indices(tmp_path / "masks" / "b.png", indices, CLASSES.palette)
    [finding] = readers.check(readers.read(f"folder:{tmp_path}")).findings
    assert finding.severity == "error"
    assert str(tmp_path / "masks" / "b.png") in finding.message
    assert "label 7" in finding.message


def test_a_class_map_in_colour_is_a_finding_that_names_the_file(tmp_path: Path) -> None:
    write(tmp_path)
    chase.draw(tmp_path / "masks" / "b.png", 5)
    [finding] = readers.check(readers.read(f"folder:{tmp_path}")).findings
    assert str(tmp_path / "masks" / "b.png") in finding.message


def test_a_class_map_of_another_size_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    images.write_indices(tmp_path / "masks" / "b.png", np.zeros((5, 6), np.uint8), CLASSES.palette)
    with pytest.raises(DatasetError, match=r"b\.png is 6x5 pixels"):
        readers.raise_first_error(readers.check(readers.read(f"folder:{tmp_path}")).findings)


@pytest.mark.parametrize(
    "text",
    [
        "kind: multiclass\n",
        "names: [a, b]\n",
        "kind: multiclass\nnames: [a, a]\n",
        "kinds: multiclass\n",
        "kind: multiclass\nnames: [a, b]\nignored: 1\n",
        "- a\n",
        "{",
        "",
    ],
)
def test_a_classes_yaml_that_cannot_be_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    write(tmp_path, text=text)
    if text == "":
        assert readers.read(f"folder:{tmp_path}").classes == VESSEL
        return
    with pytest.raises(ConfigError, match=r"classes\.yaml"):
        readers.read(f"folder:{tmp_path}")
