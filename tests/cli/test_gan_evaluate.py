"""`segkit gan evaluate`: what it says, writes and refuses."""

import csv
import io
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan.checkpoints import weights
from gan.drawing.sampling import read_generator
from segkit.core import images
from tests.pipelines.tiny import segkit_here

pytestmark = pytest.mark.slow

FILES = ["fidelity.csv", "fidelity.json", "fidelity.txt", "nearest.csv", "nearest.png"]


@pytest.fixture
def gan(finished_runs: Path) -> Path:
    return next(finished_runs.glob("gan-*"))


@pytest.fixture
def teacher(finished_runs: Path) -> Path:
    return next(finished_runs.glob("teacher-*"))


def evaluate(gan: Path, features: Path, *args: str, code: int = 0) -> None:
    command = ["gan", "evaluate", "--weights", str(gan), "--features", str(features), "--num-images", "6"]
    assert segkit_here(*command, *args) == code


def copy_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that draws the training photographs."""
    from pipelines.fidelity import assess, features

    def generate(generator: Any, seed: int, *_: Any) -> np.ndarray:
        return squares[seed % len(squares)]

    squares: list[np.ndarray] = []
    match = assess.CopySearch.__init__

    def remember(self: Any, training: np.ndarray) -> None:
        squares.extend(training)
        match(self, training)

    monkeypatch.setattr(assess.CopySearch, "__init__", remember)
    monkeypatch.setattr(features, "generate", generate)


def test_the_photographs_are_found_by_the_gan_s_own_record_and_the_table_is_printed(
    gan: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(gan, teacher)
    captured = capsys.readouterr()
    assert "Against 4 reference photographs (phantom_train); features: teacher, " in captured.out
    rows = {line.split("  ")[0]: line for line in captured.out.splitlines() if line}
    assert rows["images"].split()[1:] == ["4", "6"]
    assert all(head in rows for head in ("KID", "FID (biased)", "precision", "recall", "copies"))
    assert "0 of 6 (drawn, psi 1)" in captured.out
    assert "mean calibre, px" in captured.out
    assert captured.err == ""


def test_everything_is_written_where_it_is_asked_for(gan: Path, teacher: Path, tmp_path: Path) -> None:
    out, numbers = tmp_path / "out", tmp_path / "numbers.json"
    evaluate(gan, teacher, "--out", str(out), "--json", str(numbers), "-k", "2", "--truncation-psi", "0.5")
    assert sorted(path.name for path in out.iterdir()) == FILES
    found = json.loads(numbers.read_text())
    assert found == {"weights": gan.name, **json.loads((out / "fidelity.json").read_text())}
    assert found["k"] == 2
    assert found["sets"]["drawn"]["title"] == "drawn, psi 0.5"
    rows = list(csv.DictReader(io.StringIO((out / "nearest.csv").read_text())))
    assert [row["image"] for row in rows if row["set"] == "drawn"] == [f"seed{n:04d}" for n in range(6)]


def test_the_seed_chooses_the_images(gan: Path, teacher: Path, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate(("0", "0", "100")):
        evaluate(gan, teacher, "--seed", seed, "--json", str(tmp_path / f"{number}.json"))
        found.append(json.loads((tmp_path / f"{number}.json").read_text())["sets"]["drawn"]["numbers"])
    assert found[0] == found[1]
    assert found[0]["kid"]["value"] != found[2]["kid"]["value"]


def test_other_photographs_than_the_record_s_are_never_said_to_be_learnt_from(
    gan: Path, teacher: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for args, name in (
        (("--data", f"drive:{phantoms}"), "(drive_training)"),
        (("--images", str(phantoms / "training" / "images")), "(images)"),
    ):
        evaluate(gan, teacher, *args, "--out", str(out), "--json", str(tmp_path / "numbers.json"))
        captured = capsys.readouterr()
        said = " ".join(captured.out.split())
        assert f"Against 6 reference photographs {name}; features" in said
        assert captured.err.startswith("note: by its record this GAN was trained on other photographs")
        assert captured.err.count("\n") == 1
        note = captured.err.removeprefix("note: ").strip()
        found = json.loads((tmp_path / "numbers.json").read_text())
        assert found["note"] == json.loads((out / "fidelity.json").read_text())["note"] == note
        for text in (said, " ".join((out / "fidelity.txt").read_text().split())):
            assert f"Note: {note}." in text
            assert "may not be the GAN's training images" in text
            assert "held-out" not in text.replace(note, "").replace("there are no held-out photographs", "")


def test_the_record_s_photographs_are_learnt_from_however_they_are_named(
    gan: Path, teacher: Path, finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = next(finished_runs.glob("data-*"))
    evaluate(gan, teacher, "--data", str(data), "--json", str(tmp_path / "numbers.json"))
    captured = capsys.readouterr()
    assert "are the GAN's training images" in captured.out
    assert captured.err == ""
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert found["note"] == ""


def test_of_weights_without_a_record_nothing_is_claimed(
    gan: Path, teacher: Path, finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(gan, bare, ignore=shutil.ignore_patterns("snapshots", "done.json"))
    evaluate(bare, teacher, "--data", str(next(finished_runs.glob("data-*"))))
    captured = capsys.readouterr()
    assert captured.err.startswith("note: these weights do not record")
    assert "may not be the GAN's training images" in captured.out


def test_a_gan_that_copies_ends_with_exit_code_one_where_a_limit_is_set(
    gan: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(gan, teacher, "--max-copy-share", "0.5")
    copy_photographs(monkeypatch)
    capsys.readouterr()
    evaluate(gan, teacher, "--max-copy-share", "0.1", "--out", str(tmp_path / "out"), code=1)
    captured = capsys.readouterr()
    assert "6 of 6 (drawn, psi 1), 100 %" in captured.out
    assert captured.err.startswith("error: ")
    assert "6 of 6 (drawn, psi 1), 100.0 %; 10 % are allowed" in captured.err
    assert captured.err.endswith(f"see {tmp_path / 'out' / 'nearest.png'}\n")
    assert (tmp_path / "out" / "fidelity.json").exists()
    evaluate(gan, teacher)


def test_each_snapshot_is_a_point_of_a_curve(
    gan: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(gan, teacher, "--snapshots", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "all.json"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "snapshots.csv").read_text())))
    assert [row["kimg"] for row in rows] == ["0.04", "0.08"]
    found = json.loads((tmp_path / "all.json").read_text())
    assert [each["kimg"] for each in found["snapshots"]] == [0.04, 0.08]
    last = found["snapshots"][-1]["sets"]["drawn"]["numbers"]
    assert last == found["sets"]["drawn"]["numbers"]  # the last snapshot is the trained network
    assert images.read_size(tmp_path / "out" / "snapshots.png")[0] > 200
    assert "Snapshots, 6 images each" in capsys.readouterr().out


def test_nothing_of_an_earlier_evaluation_stays_beside_a_new_one(gan: Path, teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(gan, teacher, "--snapshots", "--out", str(out))
    (out / "mine.txt").write_text("kept")
    assert {"snapshots.csv", "snapshots.png"} < {path.name for path in out.iterdir()}
    evaluate(gan, teacher, "--out", str(out), "-k", "2")
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "mine.txt"])
    assert json.loads((out / "fidelity.json").read_text())["k"] == 2


class Means(torch.nn.Module):
    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return torch.cat([images.float().mean(dim=[2, 3]), images.float().std(dim=[2, 3])], dim=1)


def test_a_torchscript_file_measures_without_vessels(
    gan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have it exported
        torch.jit.script(Means()).save(str(tmp_path / "net.pt"))
    evaluate(gan, tmp_path / "net.pt", "--json", str(tmp_path / "numbers.json"))
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert (found["features"], found["dimension"]) == ("net", 6)
    assert found["vessels"] == {}
    assert "vessel" not in capsys.readouterr().out.lower()


def test_a_gan_of_one_channel_is_measured_like_any(gan: Path, teacher: Path, tmp_path: Path) -> None:
    settings, _ = read_generator(gan)
    grey = settings.model_copy(update={"image_channels": 1})
    from gan.networks.generator import Generator

    torch.manual_seed(0)
    weights.save(tmp_path / "grey", {weights.GENERATOR_EMA: Generator(grey)}, grey)
    data = next(gan.parent.glob("data-*"))
    evaluate(tmp_path / "grey", teacher, "--data", str(data), "--out", str(tmp_path / "out"))
    assert images.read_size(tmp_path / "out" / "nearest.png")[1] > 1000


def test_help_tells_that_a_torchscript_file_runs_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("gan", "evaluate", "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "runs code of whoever made it" in said
    assert "Nothing is ever downloaded" in said
    assert "module(uint8 images (n, 3, r, r), return_features=True)" in said


def test_wrong_requests_are_answered_in_a_line(
    gan: Path, teacher: Path, finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = tmp_path / "two"
    two.mkdir()
    for number in range(2):
        images.write_image(two / f"{number}.png", np.full((48, 52, 3), 90, np.uint8))
    (tmp_path / "net.pt").write_bytes(b"no network")
    bare = tmp_path / "bare"
    shutil.copytree(gan, bare, ignore=shutil.ignore_patterns("snapshots", "done.json"))
    ensemble = next(finished_runs.glob("ensemble-*"))
    for args, words in (
        ((gan, teacher, "--data", "drive:x", "--images", str(two)), "both name photographs; give one of them"),
        ((gan, teacher, "--images", str(two)), "3 or more patients; there are 2 images"),
        ((gan, teacher, "--images", str(tmp_path / "nowhere")), "nowhere is no folder; give a folder of photographs"),
        ((gan, ensemble), "is an ensemble; features come from one network"),
        ((gan, tmp_path / "net.pt"), "net.pt is not a TorchScript file"),
        ((gan, gan), "holds no model (model.json)"),
        ((teacher, teacher), "holds no GAN weights"),
        ((bare, teacher), "does not record its training photographs"),
        ((bare, teacher, "--data", str(next(finished_runs.glob("data-*"))), "--snapshots"), "holds no snapshots/kimg*"),
        ((gan, teacher, "--truncation-psi", "9"), "--truncation-psi"),
        ((gan, teacher, "--devices", "some"), "devices"),
        ((gan, teacher, "--seed", "4294967295"), "go beyond the largest seed"),
        ((gan, teacher, "--out", str(tmp_path / "net.pt")), "net.pt is a file; name a folder"),
        ((gan, teacher, "--out", str(gan / "mine")), "finished result of a stage"),
        ((gan, teacher, "--json", str(tmp_path)), "is a folder; name a file"),
    ):
        evaluate(*args, code=2)
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") <= 2
