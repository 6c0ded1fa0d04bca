"""Which photographs a GAN is measured against."""

import re
from pathlib import Path

import pytest

from pipelines.fidelity import photographs
from segkit.core.errors import DatasetError, RequestError
from segkit.core.files import write_json
from segkit.core.manifest import Row, Source, write_manifest
from tests.data import chase


def data_stage(folder: Path, source: str | None = "drive:/somewhere", **splits: int) -> Path:
    """A data stage's folder; its images are never read."""
    rows = [
        Row(f"{split}{n}", split, Source(folder / "images" / f"{split}{n}.tif"))  # type: ignore[arg-type]
        for split, count in splits.items()
        for n in range(count)
    ]
    folder.mkdir(parents=True)
    write_manifest(rows, folder)
    if source is not None:
        write_json(folder / "done.json", {"settings": {"source": source}})
    return folder


def gan_of(folder: Path, data: Path) -> Path:
    """A GAN's folder whose record names a data stage."""
    folder.mkdir()
    write_json(folder / "done.json", {"inputs": {"data": {"folder": f"../{data.name}", "fingerprint": "x"}}})
    return folder


def stems(paths: tuple[Path, ...]) -> list[str]:
    return [path.stem for path in paths]


def test_of_a_data_stage_the_train_split_counts_and_all_others_are_held_out(tmp_path: Path) -> None:
    source = photographs.find(str(data_stage(tmp_path / "data", train=3, val=1, holdout=2, test=1)), None, tmp_path)
    assert stems(source.training) == ["train0", "train1", "train2"]
    assert stems(source.heldout) == ["val0", "holdout0", "holdout1", "test0"]
    assert source.name == "drive_train"


def test_photographs_of_a_data_stage_and_of_a_data_set_keep_their_patients(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = [
        Row(name, "train", Source(tmp_path / f"{name}.tif"), group=group)
        for name, group in zip("abcd", "ppqq", strict=True)
    ]
    write_manifest(rows, tmp_path / "data")
    of_stage = photographs.of_data_stage(tmp_path / "data")
    assert [of_stage.groups[path] for path in of_stage.training] == ["p", "p", "q", "q"]
    assert of_stage.num_training_groups == 2
    of_set = photographs.of_dataset(f"folder:{chase.write(tmp_path / 'chase', chase.NAMES[:6])}")
    assert (len(of_set.training), of_set.num_training_groups) == (6, 3)


@pytest.mark.parametrize(
    ("source", "name"), [("phantom", "phantom_train"), (None, "data_train"), ("a-b:/x", "a_b_train")]
)
def test_a_data_stage_is_named_by_what_it_read(tmp_path: Path, source: str | None, name: str) -> None:
    assert photographs.of_data_stage(data_stage(tmp_path / "data-0123456789ab", source, train=1)).name == name


def test_by_default_the_gan_s_own_record_names_them(tmp_path: Path) -> None:
    gan = gan_of(tmp_path / "gan", data_stage(tmp_path / "data", train=3))
    assert stems(photographs.find(None, None, gan).training) == ["train0", "train1", "train2"]


def test_a_snapshot_was_trained_on_the_data_of_its_gan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gan = gan_of(tmp_path / "gan", data_stage(tmp_path / "data", train=3))
    snapshot, other = gan / "snapshots" / "kimg000001.000", gan / "elsewhere" / "kimg000001.000"
    for folder in (snapshot, other):
        folder.mkdir(parents=True)
    assert photographs.recorded_data(snapshot) == (tmp_path / "data").resolve()
    assert photographs.recorded_data(other) is None
    monkeypatch.chdir(snapshot)
    assert photographs.recorded_data(Path()) == (tmp_path / "data").resolve()


def test_photographs_of_a_request_carry_a_note_unless_the_record_names_them(tmp_path: Path) -> None:
    data = data_stage(tmp_path / "data", train=3, val=1)
    gan, other = gan_of(tmp_path / "gan", data), data_stage(tmp_path / "other", train=2)
    assert photographs.find(None, None, gan).note == ""
    assert photographs.find(str(data), None, gan).note == ""
    note = photographs.find(str(other), None, gan).note
    assert note.startswith("by its record")
    assert note.endswith(str(data.resolve()))
    unknown = photographs.find(str(data), None, tmp_path / "imported").note
    assert "do not record" in unknown


def test_a_record_whose_data_are_gone_counts_as_none(tmp_path: Path) -> None:
    gan = gan_of(tmp_path / "gan", tmp_path / "gone")
    assert photographs.recorded_data(gan) is None
    assert photographs.recorded_data(tmp_path / "snapshot.pkl") is None
    with pytest.raises(RequestError, match="--data"):
        photographs.find(None, None, gan)


def test_of_a_data_set_the_training_part_counts_and_the_test_part_is_held_out(phantoms: Path, tmp_path: Path) -> None:
    source = photographs.find(f"drive:{phantoms}", None, tmp_path)
    assert stems(source.training) == [f"{number}_training" for number in range(21, 27)]
    assert stems(source.heldout) == ["01_test", "02_test"]
    assert source.name == "drive_training"
    assert source.size == (48, 52)


def test_any_folder_of_images_will_do_with_none_held_out(phantoms: Path, tmp_path: Path) -> None:
    folder = phantoms / "test" / "images"
    source = photographs.find(None, folder, tmp_path)
    assert stems(source.training) == ["01_test", "02_test"]
    assert source.heldout == ()
    assert source.name == "images"


def test_wrong_requests_are_answered(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RequestError, match="--images"):
        photographs.find("drive:x", empty, tmp_path)
    with pytest.raises(RequestError, match="holds no image"):
        photographs.find(None, empty, tmp_path)
    with pytest.raises(RequestError, match="nowhere"):
        photographs.find(None, tmp_path / "nowhere", tmp_path)
    with pytest.raises(DatasetError, match=r"holds no manifest\.json"):
        photographs.find(str(empty), None, tmp_path)
    with pytest.raises(DatasetError, match=re.escape("a data set is named READER:FOLDER")):
        photographs.find(str(tmp_path / "nowhere"), None, tmp_path)
    with pytest.raises(RequestError, match="train"):
        photographs.find(str(data_stage(tmp_path / "data", test=2)), None, tmp_path)
