import json
from pathlib import Path

import pytest

from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import DatasetError
from segkit.core.manifest import Manifest, Row, Source, read_manifest, write_manifest


def rows(folder):
    return (
        Row(
            "21",
            "train",
            Source(folder / "images" / "21.tif"),
            {"reference": Source(folder / "manual" / "21.gif")},
            Source(folder / "fov" / "21.gif"),
        ),
        Row("01", "test", Source(folder / "images" / "01.tif"), {"observer2": Source(folder / "2nd" / "01.gif")}),
        Row(
            "s7",
            "train",
            Source(folder / "7.png"),
            {"pseudo": Source(folder / "p" / "7.png")},
            origin="synthetic",
            weight=0.5,
            threshold=0.3,
        ),
        Row(
            "22", "val", Source(folder / "images" / "22.tif", 3), {"reference": Source(folder / "manual" / "22.gif", 1)}
        ),
    )


def test_rows_are_read_as_they_were_written(tmp_path):
    written = rows(tmp_path / "DRIVE")
    assert write_manifest(written, tmp_path / "runs" / "data") == tmp_path / "runs" / "data" / "manifest.json"
    assert read_manifest(tmp_path / "runs" / "data").rows == written


def test_classes_travel_with_the_rows_and_are_vessels_by_default(tmp_path):
    classes = Classes(kind="multiclass", names=("background", "artery", "vein"), ignored=255)
    write_manifest(rows(tmp_path), tmp_path / "a", classes)
    write_manifest(rows(tmp_path), tmp_path / "b")
    assert read_manifest(tmp_path / "a").classes == classes
    assert read_manifest(tmp_path / "a").split("train").labelled().classes == classes
    assert read_manifest(tmp_path / "b").classes == VESSEL


def test_a_network_is_trained_with_the_reference_and_else_with_pseudo_labels(tmp_path):
    manual, pseudo, second = (Source(tmp_path / name) for name in ("m.png", "p.png", "s.png"))
    labels = {"pseudo": pseudo, "reference": manual, "observer2": second}
    for left, target in (
        (labels, manual),
        ({"pseudo": pseudo, "observer2": second}, pseudo),
        ({"observer2": second}, None),
    ):
        row = Row("1", "train", Source(tmp_path / "1.png"), left)
        assert row.target == target
        assert row.reference == left.get("reference")
        assert len(Manifest((row,)).labelled()) == (target is not None)


def test_pages_of_one_file_are_images_of_their_own(tmp_path):
    stack = tmp_path / "stack.tif"
    write_manifest([Row(f"{page}", "test", Source(stack, page)) for page in range(3)], tmp_path)
    assert [row.image for row in read_manifest(tmp_path).rows] == [Source(stack, page) for page in range(3)]
    assert [str(row.image) for row in read_manifest(tmp_path).rows] == [
        str(stack),
        f"{stack}, page 1",
        f"{stack}, page 2",
    ]


def test_a_row_keeps_its_group_and_without_one_is_its_own(tmp_path):
    written = (
        Row("1L", "train", Source(tmp_path / "1L.png"), group="child 1"),
        Row("2L", "val", Source(tmp_path / "2L.png")),
    )
    write_manifest(written, tmp_path)
    assert [row.group for row in read_manifest(tmp_path).rows] == ["child 1", "2L"]
    assert read_manifest(tmp_path).num_groups == 2
    raw = json.loads((tmp_path / "manifest.json").read_text())
    for row in raw["rows"]:  # as stages wrote it before there were groups
        del row["group"]
    (tmp_path / "manifest.json").write_text(json.dumps(raw))
    assert [row.group for row in read_manifest(tmp_path).rows] == ["1L", "2L"]


def test_paths_are_relative_on_disk_so_that_runs_can_be_moved(tmp_path):
    write_manifest(rows(tmp_path / "a" / "data"), tmp_path / "a" / "runs" / "one")
    raw = json.loads((tmp_path / "a" / "runs" / "one" / "manifest.json").read_text())["rows"]
    assert raw[0]["image"] == ["../../data/images/21.tif", 0]
    assert raw[3]["labels"] == {"reference": ["../../data/manual/22.gif", 1]}
    assert raw[1]["region"] is None
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_manifest(tmp_path / "b" / "runs" / "one").rows == rows(tmp_path / "b" / "data")


def test_paths_relative_to_the_working_folder_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest(rows(Path("data")), Path("runs"))
    assert read_manifest(Path("runs")).rows == rows(tmp_path / "data")


def test_a_linked_runs_folder_leads_to_the_same_images(tmp_path):
    for place in ("home/user", "scratch/deep/er", "data"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "home" / "user" / "runs").symlink_to(tmp_path / "scratch" / "deep" / "er")
    image = tmp_path / "data" / "1.png"
    image.write_text("pixels")
    write_manifest([Row("1", "test", Source(image))], tmp_path / "home" / "user" / "runs" / "one")
    for folder in ("home/user/runs/one", "scratch/deep/er/one"):
        assert read_manifest(tmp_path / folder).rows[0].image.path.read_text() == "pixels"


def test_a_linked_image_keeps_its_own_name(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "ab12").write_text("pixels")
    (tmp_path / "1.png").symlink_to(tmp_path / "store" / "ab12")
    write_manifest([Row("1", "test", Source(tmp_path / "1.png"))], tmp_path / "runs")
    assert read_manifest(tmp_path / "runs").rows[0].image == Source(tmp_path / "1.png")


def test_splits_and_labelled_rows_keep_their_order(tmp_path):
    manifest = Manifest(rows(tmp_path))
    assert [row.name for row in manifest.split("train").rows] == ["21", "s7"]
    assert [row.name for row in manifest.split("val", "test").rows] == ["01", "22"]
    assert [row.name for row in manifest.labelled().rows] == ["21", "s7", "22"]
    assert len(manifest) == 4
    assert len(manifest.split("holdout")) == 0


def test_two_images_of_one_name_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="two images have the name '21'"):
        write_manifest([*rows(tmp_path), *rows(tmp_path)[:1]], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_manifest_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DatasetError, match=str(folder)):
            read_manifest(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"manifest\.json"):
        read_manifest(tmp_path / "file")


def whole(classes=None, **changes):
    """A manifest of one row that can be read, but for `changes`."""
    row = {"name": "1", "split": "train", "image": ["1.png", 0], "labels": {}, "region": None} | changes
    return json.dumps({"classes": classes or {}, "rows": [row]})


def test_the_manifest_that_is_damaged_below_is_whole_without_the_damage(tmp_path):
    (tmp_path / "manifest.json").write_text(whole())
    assert read_manifest(tmp_path).rows == (Row("1", "train", Source(tmp_path / "1.png")),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"rows": 3}',
        '{"rows": [3]}',
        '{"rows": [{"name": "1"}], "classes": {}}',
        whole(image=3),
        whole(image=["1.png"]),
        whole(image="1.png"),
        whole(colour="red"),
        whole(split="training"),
        whole(origin="fake"),
        whole(labels={"truth": ["1.png", 0]}),
        whole(labels=["1.png", 0]),
        whole(region="fov.png"),
        whole({"kind": "multiclass"}),
        whole({"kind": "binary", "names": ["a", "b"]}),
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatasetError, match=r"manifest\.json"):
        read_manifest(tmp_path)
