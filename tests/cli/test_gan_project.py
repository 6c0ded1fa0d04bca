"""`segkit gan project`: images into W."""

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gan.data import fit_to_square
from gan.noise import synthesise
from gan.sampling import generate, levels_8bit, read_generator, styles
from segkit.core import images
from segkit.data.settings import GeometrySettings
from segkit.models import build_model
from segkit.models.settings import SAUNetSettings
from segkit.tasks.weights import save_ensemble, save_network
from tests.cli.gans import save_gan
from tests.pipelines.tiny import files_below, segkit_here

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
    assert files_below(out) == {f"{name}/{file}" for name in ("drawn", "photo") for file in FILES}
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
        ((*out, tmp_path / "text.png"), 2, "text.png is not a TIFF, GIF, PNG, JPEG or PPM image"),
        ((*out, tmp_path / "other"), 2, "is a folder, not an image file"),
        ((*out, drawn, tmp_path / "other" / "drawn.png"), 2, "two images are called 'drawn'"),
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
