"""`segkit predict` on one's own images."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.core import images
from segkit.tasks.prediction_files import MapWriter
from segkit.tasks.weights import read_card
from tests.pipelines.tiny import environment, files_below, run_segkit, segkit_here

pytestmark = pytest.mark.slow


@pytest.fixture
def teacher(finished_runs: Path) -> Path:
    return next(finished_runs.glob("teacher-*"))


@pytest.fixture
def photo(finished_runs: Path) -> Path:
    return next(finished_runs.glob("data-*")) / "images" / "01_test.tif"


def predict(weights: Path, out: Path, *args: str | Path) -> int:
    return segkit_here("predict", "--weights", str(weights), "--out", str(out), *map(str, args))


def test_a_folder_of_images_gives_probabilities_and_vessels_at_their_own_size(
    teacher: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, out = tmp_path / "mine", tmp_path / "out"
    mine.mkdir()
    whole = images.read_image(photo)
    images.write_image(mine / "odd.png", whole[:47, :45])
    images.write_image(mine / "large.jpg", np.tile(whole, (2, 3, 1)))
    (mine / "notes.txt").write_text("no picture")
    assert predict(teacher, out, mine) == 0
    maps = {f"{kind}/{name}.png" for kind in ("probs", "binary") for name in ("odd", "large")}
    assert files_below(out) == {*maps, "predictions.json"}
    for name, size in (("odd", (47, 45)), ("large", (96, 156))):
        with Image.open(out / "probs" / f"{name}.png") as picture:
            assert picture.mode == "I;16"
        probs, vessels = (
            images.read_probs(out / "probs" / f"{name}.png"),
            images.read_mask(out / "binary" / f"{name}.png"),
        )
        assert probs.shape == vessels.shape == size
        np.testing.assert_array_equal(vessels, probs >= np.float32(read_card(teacher).threshold))
    threshold = f"{read_card(teacher).threshold:.3f}"
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"2 images: probabilities in {out / 'probs'}, vessel (threshold {threshold}, val-best-dice) in {out / 'binary'}"
    )


def test_one_image_is_predicted_as_the_pipeline_predicted_it(
    finished_runs: Path, teacher: Path, photo: Path, tmp_path: Path
) -> None:
    assert predict(teacher, tmp_path, photo) == 0
    theirs = next(finished_runs.glob("evaluate-*")) / "predictions" / "teacher" / "probs" / "01_test.png"
    ours, expected = images.read_probs(tmp_path / "probs" / "01_test.png"), images.read_probs(theirs)
    inside = (ours > 0) & (expected > 0)  # here the field of view is estimated, there it came with the data
    assert inside.sum() > 0.9 * (expected > 0).sum()
    np.testing.assert_allclose(ours[inside], expected[inside], atol=2e-5)


def test_gray_and_16_bit_images_are_taken_and_colour_ones_of_the_same_content_are_the_same(
    teacher: Path, photo: Path, tmp_path: Path
) -> None:
    gray = images.read_image(photo)[:, :, 1]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.repeat(gray[:, :, None], 3, axis=2)).save(tmp_path / "colour.png")
    assert predict(teacher, tmp_path / "out", tmp_path) == 0
    found = [images.read_levels(tmp_path / "out" / "probs" / f"{name}.png") for name in ("gray", "deep", "colour")]
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])


def test_a_mirrored_image_gives_the_mirrored_map_under_augmentation(teacher: Path, photo: Path, tmp_path: Path) -> None:
    images.write_image(tmp_path / "there.png", images.read_image(photo)[:48, :48])
    images.write_image(tmp_path / "back.png", images.read_image(photo)[:48, :48][:, ::-1])
    for tta, exact in (("none", False), ("flips", True)):
        out = tmp_path / tta
        assert predict(teacher, out, tmp_path / "there.png", tmp_path / "back.png", "--tta", tta) == 0
        one, two = images.read_probs(out / "probs/there.png"), images.read_probs(out / "probs/back.png")[:, ::-1]
        # padding below and to the right does not mirror; here there is none
        assert bool(np.abs(one - two).max() < 1e-4) is exact


def test_tiles_give_nearly_what_the_whole_image_gives(teacher: Path, photo: Path, tmp_path: Path) -> None:
    images.write_image(tmp_path / "large.png", np.tile(images.read_image(photo), (3, 3, 1)))
    assert predict(teacher, tmp_path / "whole", tmp_path / "large.png") == 0
    assert predict(teacher, tmp_path / "tiled", tmp_path / "large.png", "--tile", "96") == 0
    whole, tiled = (images.read_probs(tmp_path / kind / "probs" / "large.png") for kind in ("whole", "tiled"))
    assert whole.shape == tiled.shape
    assert np.abs(whole - tiled).mean() < 0.01
    assert not np.array_equal(whole, tiled)


@pytest.mark.parametrize(("threshold", "share"), [("0", 1.0), ("1", 0.0)])
def test_the_threshold_can_be_given(teacher: Path, photo: Path, tmp_path: Path, threshold: str, share: float) -> None:
    assert predict(teacher, tmp_path, photo, "--threshold", threshold) == 0
    assert images.read_mask(tmp_path / "binary/01_test.png").mean() == share


def test_an_ensemble_predicts_too(finished_runs: Path, photo: Path, tmp_path: Path) -> None:
    assert predict(next(finished_runs.glob("ensemble-*")), tmp_path, photo) == 0
    assert images.read_size(tmp_path / "probs" / "01_test.png") == (48, 52)


def test_a_model_s_folder_can_be_carried_off_without_its_pipeline(teacher: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "carried").mkdir()
    for name in ("model.json", "model.safetensors"):
        shutil.copy(teacher / name, tmp_path / "carried")
    assert predict(tmp_path / "carried", tmp_path / "out", photo) == 0


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "predictions.json").read_text())
    return read


def written(out: Path) -> dict[str, int]:
    """When each map was written."""
    return {name: (out / name).stat().st_mtime_ns for name in files_below(out) if name.endswith(".png")}


@pytest.fixture
def photos(photo: Path, tmp_path: Path) -> Path:
    """A folder of three photographs."""
    whole = images.read_image(photo)
    for name, turned in (("a", whole), ("b", whole[::-1]), ("c", whole[:, ::-1])):
        images.write_image(tmp_path / "photos" / f"{name}.png", turned)
    return tmp_path / "photos"


def test_the_record_says_what_was_predicted_with_what(teacher: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict(teacher, out, photos, "--tta", "flips", "--tile", "64") == 0
    found, card = record(out), read_card(teacher)
    assert (found["threshold"], found["threshold_source"]) == (card.threshold, "val-best-dice")
    assert (found["weights"], found["kind"], found["tta"], found["tile"]) == (str(teacher), "network", "flips", 64)
    assert found["files"] == {name: sha256(teacher / name) for name in ("model.json", "model.safetensors")}
    assert found["fingerprint"] == json.loads((teacher / "done.json").read_text())["fingerprint"]
    assert found["images"]["b"] == {
        "file": "b.png",
        "path": str(photos / "b.png"),
        "bytes": (photos / "b.png").stat().st_size,
        "sha256": sha256(photos / "b.png"),
        "fov": "estimated",
        "model_split": None,
        "probs": "probs/b.png",
        "binary": "binary/b.png",
    }
    (run,) = found["runs"]
    assert run["images"] == ["a", "b", "c"]
    assert {"segkit", "torch", "python"} <= run["versions"].keys()
    assert {"started", "device", "git_commit"} <= run.keys()


def test_a_threshold_of_one_s_own_is_recorded_as_given(teacher: Path, photo: Path, tmp_path: Path) -> None:
    assert predict(teacher, tmp_path / "out", photo, "--threshold", "0.25") == 0
    found = record(tmp_path / "out")
    assert (found["threshold"], found["threshold_source"]) == (0.25, "given")


def test_the_images_a_model_was_trained_on_are_recognised_by_their_content(
    finished_runs: Path, teacher: Path, phantoms: Path, tmp_path: Path
) -> None:
    rows = json.loads((next(finished_runs.glob("data-*")) / "manifest.json").read_text())["rows"]
    expected = {row["name"]: row["split"] if row["split"] in {"train", "val"} else None for row in rows}
    for weights in (teacher, next(finished_runs.glob("ensemble-*"))):
        out = tmp_path / weights.name
        assert predict(weights, out, "--data", f"drive:{phantoms}") == 0
        entries = record(out)["images"]
        assert {name: entry["model_split"] for name, entry in entries.items()} == expected
        assert {entry["fov"] for entry in entries.values()} == {"given"}


def test_predictions_made_otherwise_are_not_mixed_with_those_that_are_there(
    finished_runs: Path, teacher: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, ensemble = tmp_path / "out", next(finished_runs.glob("ensemble-*"))
    assert predict(teacher, out, photos / "a.png") == 0
    before, maps = record(out), written(out)
    for weights, args, words in [
        (ensemble, (), f"other weights ({teacher})"),
        (teacher, ("--threshold", "0.25"), "0.25"),
        (teacher, ("--tta", "d4"), "tta = none, not d4"),
        (teacher, ("--tile", "64"), "tile = None, not 64"),
    ]:
        assert predict(weights, out, photos / "b.png", *args) == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.endswith("choose another folder\n")
    assert (record(out), written(out)) == (before, maps)
    shutil.copytree(out, tmp_path / "old")
    (tmp_path / "old" / "predictions.json").unlink()
    assert predict(teacher, tmp_path / "old", photos / "b.png") == 2
    assert predict(teacher, out, photos / "b.png") == 0
    assert set(record(out)["images"]) == {"a", "b"}


def test_the_same_command_again_predicts_only_what_is_missing_or_has_changed(
    teacher: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict(teacher, out, photos) == 0
    first, before = written(out), record(out)
    assert predict(teacher, out, photos) == 0
    assert (written(out), record(out)) == (first, before)
    (out / "binary" / "a.png").unlink()
    images.write_image(photos / "b.png", 255 - images.read_image(photos / "b.png"))
    assert predict(teacher, out, photos) == 0
    again = written(out)
    assert {name for name in first if again[name] != first[name]} == {
        f"{kind}/{name}.png" for kind in ("probs", "binary") for name in "ab"
    }
    assert record(out)["images"]["b"]["sha256"] == sha256(photos / "b.png")
    assert [run["images"] for run in record(out)["runs"]] == [["a", "b", "c"], ["a", "b"]]
    (tmp_path / "other").mkdir()
    shutil.copy(photos / "c.png", tmp_path / "other" / "a.png")
    assert predict(teacher, out, tmp_path / "other") == 2
    assert f"holds the prediction of {photos / 'a.png'}" in capsys.readouterr().err
    assert written(out) == again


def test_a_command_that_was_stopped_goes_on(
    teacher: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = tmp_path / "out", MapWriter.write_on_batch_end
    images.write_image(photos / "a.png", images.read_image(photos / "a.png")[..., 1])

    def stop(self: MapWriter, *args: Any, **named: Any) -> None:
        if len(files_below(out / "binary")) == 2:
            raise KeyboardInterrupt
        write(self, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(MapWriter, "write_on_batch_end", stop)
        assert predict(teacher, out, photos) == 130
    assert files_below(out / "probs") == files_below(out / "binary") == {"a.png", "b.png"}
    (out / "probs" / ".tmp-c-half.png").write_text("half")
    first = written(out)
    assert predict(teacher, out, photos) == 0
    again = written(out)
    assert files_below(out / "probs") == files_below(out / "binary") == {"a.png", "b.png", "c.png"}
    assert all(
        again[f"{kind}/{name}.png"] == first[f"{kind}/{name}.png"] for kind in ("probs", "binary") for name in "ab"
    )
    assert all("binary" in entry for entry in record(out)["images"].values())
    assert predict(teacher, tmp_path / "whole", photos) == 0
    (out / "binary" / "b.png").unlink()
    for _ in range(2):  # a warning of the stopped command is there, and once
        assert predict(teacher, out, photos) == 0
        assert record(out)["images"] == record(tmp_path / "whole")["images"]
    assert record(out)["images"]["a"]["warnings"] == ["gray, not in colour"]
    for name in again:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("devices", [1, 2])
def test_what_cannot_be_read_is_reported_and_the_rest_predicted(
    teacher: Path, photos: Path, tmp_path: Path, devices: int, capfd: pytest.CaptureFixture[str]
) -> None:
    (photos / "0.tif").touch()
    (photos / "text.png").write_text("hello")
    whole = (photos / "a.png").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    command = ("predict", "--weights", str(teacher), "--out", str(out), "--devices", str(devices), str(photos))
    if devices == 1:
        capfd.readouterr()
        code, err = segkit_here(*command), capfd.readouterr().err
    else:
        ended = run_segkit(*command, cwd=tmp_path)
        code, err = ended.returncode, ended.stderr
    assert code == 1
    bad = {"0": "is empty", "text": "is not a", "cut": "is truncated"}
    assert [line.split()[0] for line in err.splitlines()] == ["left", "left", "left", "error:"]
    for name, words in bad.items():
        assert words in record(out)["images"][name]["error"]
        assert any(words in line and f"/{name}." in line for line in err.splitlines()[:3])
    assert files_below(out / "binary") == files_below(out / "probs") == {"a.png", "b.png", "c.png"}
    for name in bad:
        next(photos.glob(f"{name}.*")).unlink()
    (photos / "text.png").write_bytes(whole)
    assert predict(teacher, out, photos) == 0
    assert "error" not in record(out)["images"]["text"]


def test_sub_folders_are_searched_on_request_and_repeated_in_the_output(
    teacher: Path, photos: Path, tmp_path: Path
) -> None:
    for name in ("left/a.webp", "left/deep/a.bmp", ".hidden/d.png"):
        (photos / name).parent.mkdir(exist_ok=True, parents=True)
        with Image.open(photos / "a.png") as picture:
            picture.save(photos / name)
    out = photos / "results"
    for _ in range(2):  # its own results are no images of the second time
        assert predict(teacher, out, photos, "--recursive") == 0
        assert files_below(out / "probs") == {"a.png", "b.png", "c.png", "left/a.png", "left/deep/a.png"}
        assert files_below(out / "binary") == files_below(out / "probs")
    assert (out / "probs/a.png").read_bytes() == (out / "probs/left/deep/a.png").read_bytes()


def test_what_is_not_there_is_noticed_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom segkit.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    print(end.code, 'torch' in sys.modules)"
    )
    args = ["predict", "--out", "o", "nothere.png"]
    ended = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=tmp_path, env=environment(), text=True, capture_output=True, check=True
    )
    assert ended.stdout == "2 False\n"
    assert ended.stderr == "error: nothere.png does not exist; give images or folders of images\n"
    assert list(tmp_path.iterdir()) == []


def test_predicted_and_evaluated_by_hand_a_model_has_the_scores_the_pipeline_gave_it(
    finished_runs: Path, phantoms: Path, tmp_path: Path
) -> None:
    folder = next(finished_runs.glob("evaluate-*"))
    expected = json.loads((folder / "measurements.json").read_text())["test"]
    for model in ("teacher", "ensemble"):
        out, path = tmp_path / model, tmp_path / f"{model}.json"
        data = ("--data", f"drive:{phantoms}", "--split", "test")
        assert predict(next(finished_runs.glob(f"{model}-*")), out, *data) == 0
        for maps in (out, out / "probs", folder / "predictions" / model / "probs"):
            assert segkit_here("evaluate", "--predictions", str(maps), *data, "--json", str(path)) == 0
            ours = json.loads(path.read_text())["measurements"]
            assert [{key: m[key] for key in m if key != "part"} for m in ours] == expected[model]


def bad_requests(photo: Path, tmp_path: Path) -> list[tuple[list[str | Path], str]]:
    (tmp_path / "empty").mkdir()
    (tmp_path / "above" / "below").mkdir(parents=True)
    (tmp_path / "above" / "below" / "a.png").write_text("never opened")
    shutil.copy(photo, tmp_path / "01_test.tif")
    return [
        ([tmp_path / "nowhere"], "nowhere does not exist; give images or folders of images"),
        ([tmp_path / "empty"], "empty holds no image (.bmp, .gif, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp)"),
        ([photo, tmp_path / "01_test.tif"], "two images have the name '01_test.tif'"),
        ([tmp_path / "above"], "holds no image; its sub-folders do, add --recursive"),
        ([photo, "--split", "test"], "--split goes with --data, --recursive with folders"),
        ([], "give either images and folders, or --data NAME:DIR"),
        ([photo, "--tile", "10"], "tile = 10: input should be greater than or equal to 64"),
        ([photo, "--devices", "two"], "devices"),
        ([photo, "--tta", "all"], "Invalid value for '--tta': 'all' is not one of 'none', 'flips', 'd4'"),
    ]


def test_what_cannot_be_predicted_is_told_in_a_line_or_two(
    teacher: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for args, words in bad_requests(photo, tmp_path):
        capsys.readouterr()
        assert predict(teacher, tmp_path / "out", *args) == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.startswith("error: ")
        assert 1 <= err.count("\n") <= 2
    assert predict(tmp_path, tmp_path / "out", photo) == 2
    assert "holds no model (model.json); give a folder such as a teacher's" in capsys.readouterr().err
