"""`segkit gan project`: images into W."""

import csv
import os
import signal
import subprocess
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gan.drawing.sampling import generate, levels_8bit, read_generator, styles
from gan.networks.noise import synthesise
from gan.training.data import fit_to_square
from segkit.core import images
from segkit.data.settings import GeometrySettings
from segkit.models import build_model
from segkit.models.settings import SAUNetSettings
from segkit.tasks.weights import save_ensemble, save_network
from tests.cli.gans import save_gan
from tests.pipelines.tiny import files_below, segkit_here, start_segkit

FILES = ("projected.png", "comparison.png", "w.safetensors", "distances.csv")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_gan(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def drawn(weights: Path, tmp_path: Path) -> Path:
    """An image of the GAN's own."""
    images.write_image(tmp_path / "drawn.png", generate(read_generator(weights)[1], 3))
    return tmp_path / "drawn.png"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """No image of the GAN's, and not square."""
    picture = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    images.write_image(tmp_path / "photo.png", picture)
    return tmp_path / "photo.png"


def project(weights: Path, out: Path, *args: str | Path) -> int:
    return segkit_here("gan", "project", "--weights", str(weights), "--out", str(out), *map(str, args))


def parts(path: Path, edge: int = 16) -> list[np.ndarray]:
    sheet = images.read_image(path)
    assert sheet.shape == (edge, 3 * edge, 3)
    return [sheet[:, first : first + edge] for first in range(0, 3 * edge, edge)]


def test_an_image_of_the_gan_is_met_and_another_is_not(
    weights: Path, drawn: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert project(weights, out, drawn, photo, "--steps", "200", "--noise", "const") == 0
    assert files_below(out) == {
        "projection.json",
        *(f"{name}/{file}" for name in ("drawn", "photo") for file in FILES),
    }
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith(str(out))]
    for line, name, least, most in zip(said, ("drawn", "photo"), (40, 5), (99, 15), strict=True):
        target, projected, difference = parts(out / name / "comparison.png")
        np.testing.assert_array_equal(projected, images.read_image(out / name / "projected.png"))
        expected = np.minimum(4 * np.abs(target.astype(int) - projected), 255)
        np.testing.assert_array_equal(difference, expected)
        ratio = peak_signal_noise_ratio(target, projected)
        assert least < ratio < most
        similarity = structural_similarity(target, projected, channel_axis=2)
        assert line.startswith(f"{out / name}: PSNR {ratio:.1f} dB, SSIM {similarity:.3f} (the GAN's mean image: PSNR ")
    np.testing.assert_array_equal(parts(out / "drawn" / "comparison.png")[0], images.read_image(drawn))
    fitted = fit_to_square(images.read_image(photo), 16, "pad")
    np.testing.assert_array_equal(parts(out / "photo" / "comparison.png")[0], fitted)
    generator = read_generator(weights)[1]
    found = load_file(out / "drawn" / "w.safetensors")
    assert found["w"].shape == (6, 6)
    truth = styles(generator, 3)[0]
    assert (found["w"] - truth).norm() < 0.1 * (generator.mapping.w_avg - truth).norm()


def test_the_file_of_w_and_noise_draws_the_projection_again(weights: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert project(weights, out, photo, "--steps", "20", "--space", "w+") == 0
    found = load_file(out / "photo" / "w.safetensors")
    noise = {name.removeprefix("noise."): value for name, value in found.items() if name != "w"}
    assert len(noise) == 5
    generator = read_generator(weights)[1]
    again = levels_8bit(synthesise(generator.synthesis, found["w"][None], noise)[0])
    np.testing.assert_array_equal(again, images.read_image(out / "photo" / "projected.png"))


def test_the_distances_are_written_step_by_step(weights: Path, drawn: Path, tmp_path: Path) -> None:
    assert project(weights, tmp_path / "out", drawn, "--steps", "40") == 0
    with (tmp_path / "out" / "drawn" / "distances.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(40))
    assert float(rows[-1]["distance"]) < 0.3 * float(rows[0]["distance"])
    assert float(rows[20]["learning_rate"]) == pytest.approx(0.1)


def test_the_same_command_gives_the_same_bytes_and_another_seed_others(
    weights: Path, photo: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert project(weights, tmp_path / name, photo, "--steps", "5", "--seed", seed) == 0
    found = {name: [(tmp_path / name / "photo" / file).read_bytes() for file in FILES] for name in "abc"}
    assert found["a"] == found["b"]
    assert found["a"][2] != found["c"][2]


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_below(folder)}


def test_projections_that_are_there_stay_and_others_are_made_anew(
    weights: Path, drawn: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = (drawn, photo, "--steps", "5")
    assert project(weights, out, *command) == 0
    whole, when = contents(out), (out / "drawn" / "w.safetensors").stat().st_mtime_ns
    (out / "photo" / "w.safetensors").unlink()
    (out / "photo" / ".tmp-w-abc.safetensors").write_bytes(b"half")
    capsys.readouterr()
    assert project(weights, out, *command) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{out / 'drawn'}: projected before"
    assert said[1].startswith(f"{out / 'photo'}: PSNR")
    assert contents(out) == whole
    assert (out / "drawn" / "w.safetensors").stat().st_mtime_ns == when


def test_other_settings_weights_or_images_do_not_mix(
    weights: Path, drawn: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, source = tmp_path / "out", teacher(tmp_path / "teacher")
    save_gan(tmp_path / "others", w_dim=7)
    assert project(weights, out, drawn, "--steps", "3") == 0
    before = contents(out)
    for given, args, words in [
        (weights, (drawn, "--steps", "4"), "holds projections made with num_steps = 3, not 4; choose another folder"),
        (weights, (photo, "--steps", "3", "--space", "w+"), "holds projections made with space = w, not w+"),
        (weights, (photo, "--steps", "3", "--features", source), "holds projections of other features (none)"),
        (tmp_path / "others", (drawn, "--steps", "3"), f"holds projections of other weights ({weights})"),
    ]:
        assert project(given, out, *args) == 2
        assert words in capsys.readouterr().err
    drawn.write_bytes(photo.read_bytes())
    assert project(weights, out, drawn, "--steps", "3") == 2
    assert "holds the projection of another image called 'drawn'" in capsys.readouterr().err
    assert contents(out) == before


def test_another_teacher_is_told_by_where_the_first_one_lies(
    weights: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (one, other) = (teacher(tmp_path / name) for name in ("one", "other"))
    assert project(weights, tmp_path / "out", photo, "--steps", "2", "--features", one) == 0
    assert project(weights, tmp_path / "out", photo, "--steps", "2", "--features", other) == 2
    assert f"holds projections of other features ({one}); choose another folder" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_search_goes_on_with_the_next_image_to_the_same_bytes(
    weights: Path, drawn: Path, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "third.png").write_bytes(photo.read_bytes())
    command = (drawn, photo, tmp_path / "third.png", "--steps", "30")
    process = start_segkit(
        *("gan", "project", "--weights", str(weights), "--out", str(tmp_path / "killed"), *map(str, command)),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not (tmp_path / "killed" / "drawn" / "w.safetensors").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "third").exists()
    assert project(weights, tmp_path / "killed", *command) == 0
    assert project(weights, tmp_path / "whole", *command) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


class Half(torch.nn.Module):
    """Sees only the left half of an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., :8].flatten(1) / 10


def test_features_of_a_file_change_what_is_near(weights: Path, photo: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Half()).save(str(tmp_path / "half.pt"))
    options = ("--steps", "100", "--space", "w+", "--noise", "const")
    errors = {}
    for name, extra in {"plain": (), "half": ("--features", tmp_path / "half.pt")}.items():
        assert project(weights, tmp_path / name, photo, *options, *extra) == 0
        target, projected, _ = parts(tmp_path / name / "photo" / "comparison.png")
        errors[name] = np.square(target.astype(float) - projected)[:, :8].mean()
    assert errors["half"] < 0.95 * errors["plain"]


def teacher(folder: Path) -> Path:
    settings = SAUNetSettings(widths=(4, 8))
    save_network(folder, build_model(settings).state_dict(), settings, GeometrySettings())
    return folder


def test_a_teacher_s_encoder_can_be_the_features(weights: Path, photo: Path, tmp_path: Path) -> None:
    source = teacher(tmp_path / "teacher")
    for name, extra in {"plain": (), "with": ("--features", source)}.items():
        assert project(weights, tmp_path / name, photo, "--steps", "3", *extra) == 0
    first = [(tmp_path / name / "photo" / "distances.csv").read_text().splitlines()[1] for name in ("plain", "with")]
    plain, more = (float(line.split(",")[1]) for line in first)
    assert more > plain + 0.01


def test_what_cannot_be_projected_is_told_in_a_line(
    weights: Path, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "drawn.png").write_bytes(drawn.read_bytes())
    members = {"one": teacher(tmp_path / "teacher")}
    save_ensemble(tmp_path / "ensemble", members, "mean", [1.0], 0.5, "fixed-0.5", None)
    out = ("--out", str(tmp_path / "out"))
    for args, code, words in [
        ((*out, tmp_path / "nowhere.png"), 2, "nowhere.png does not exist"),
        ((*out, tmp_path / "text.png"), 2, "text.png is not a TIFF, GIF, PNG, JPEG, PPM, WebP or BMP image"),
        ((*out, tmp_path / "other"), 2, "is a folder, not an image file"),
        ((*out, drawn, tmp_path / "other" / "drawn.png"), 2, "two images have the name 'drawn'"),
        ((*out,), 2, "Missing argument 'IMAGE...'"),
        ((*out, drawn, "--steps", "0"), 2, "'--steps'"),
        ((*out, drawn, "--features", tmp_path / "nowhere"), 2, "nowhere does not exist; give a TorchScript file"),
        ((*out, drawn, "--features", tmp_path / "file"), 2, "is not a TorchScript file"),
        ((*out, drawn, "--features", tmp_path / "other"), 2, "holds no model"),
        ((*out, drawn, "--features", tmp_path / "ensemble"), 2, "is an ensemble; features come from one network"),
        (("--out", tmp_path / "file", drawn), 2, "file is a file; name a folder"),
        (("--out", tmp_path / "file" / "x", drawn), 2, "file, which is a file; name another folder"),
    ]:
        command = ("gan", "project", "--weights", str(weights), *map(str, args))
        assert segkit_here(*command) == code, args
        err = capsys.readouterr().err
        assert words in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    assert project(tmp_path, tmp_path / "out", drawn) == 2
    assert "holds no GAN weights" in capsys.readouterr().err
