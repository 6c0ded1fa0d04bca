"""`segkit gan sample`: the images of seeds from given weights."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from gan.drawing.sampling import generate, read_generator
from segkit.core import images
from tests.cli.gans import save_gan
from tests.gan.small_networks import networks, states, tiny
from tests.pipelines.tiny import files_below, run_segkit, segkit_here, start_segkit
from tests.reference import gan_official_pickle as official


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_gan(tmp_path / "weights")
    return tmp_path / "weights"


def sample(weights: Path, out: Path, *args: str | Path) -> int:
    return segkit_here("gan", "sample", "--weights", str(weights), "--out", str(out), *map(str, args))


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_below(folder)}


def test_each_seed_has_its_file_with_its_image(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert sample(weights, out, "--seeds", "0-2,105,1", "--truncation-psi", "0.5") == 0
    assert files_below(out) == {"sampling.json", *(f"seed{seed:04d}.png" for seed in (0, 1, 2, 105))}
    generator = read_generator(weights)[1]
    for seed in (0, 105):
        expected = generate(generator, seed, 0.5)
        np.testing.assert_array_equal(images.read_image(out / f"seed{seed:04d}.png"), expected)
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"4 images in {out} (truncation psi 0.5, noise const, 8 bit)"


def test_one_image_is_told_in_the_singular(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, grid = tmp_path / "out", tmp_path / "grid.png"
    assert sample(weights, out, "--seeds", "7", "--truncation-cutoff", "1", "--grid", grid) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"1 image in {out} (truncation psi 0.7 in the first 1 style, noise const, 8 bit)",
        f"grid of 1 image in {grid}",
    ]


def test_the_folder_says_how_its_images_were_drawn(weights: Path, tmp_path: Path) -> None:
    options = ("--truncation-cutoff", "2", "--noise-mode", "none", "--bits", "16")
    assert sample(weights, tmp_path / "out", "--seeds", "3", *options) == 0
    record = json.loads((tmp_path / "out" / "sampling.json").read_text())
    assert {key: record[key] for key in ("truncation_psi", "truncation_cutoff", "noise_mode", "bits")} == {
        "truncation_psi": 0.7,
        "truncation_cutoff": 2,
        "noise_mode": "none",
        "bits": 16,
    }
    assert record["weights"] == str(weights)


def test_an_official_file_draws_what_its_import_draws(tmp_path: Path) -> None:
    path = tmp_path / "network-snapshot-001000.pkl"
    path.write_bytes(official.dumps(official.snapshot(*states(networks(tiny())))))
    assert segkit_here("gan", "import", str(path), "--out", str(tmp_path / "imported")) == 0
    assert sample(path, tmp_path / "a", "--seeds", "0-2") == 0
    assert sample(tmp_path / "imported", tmp_path / "b", "--seeds", "0-2") == 0
    (a, b) = (contents(tmp_path / name) for name in "ab")
    records = [json.loads(found.pop("sampling.json")) for found in (a, b)]
    assert a == b
    assert records[0]["weights_sha256"] == records[1]["weights_sha256"]


def test_a_grid_shows_the_first_images(weights: Path, tmp_path: Path) -> None:
    assert sample(weights, tmp_path / "out", "--seeds", "0-4", "--grid", tmp_path / "grid.png") == 0
    grid = images.read_image(tmp_path / "grid.png")
    assert grid.shape == (32, 48, 3)
    for seed, (top, left) in enumerate([(0, 0), (0, 16), (0, 32), (16, 0), (16, 16)]):
        alone = images.read_image(tmp_path / "out" / f"seed{seed:04d}.png")
        np.testing.assert_array_equal(grid[top : top + 16, left : left + 16], alone)
    assert not grid[16:, 32:].any()


@pytest.mark.parametrize("bits", ["8", "16"])
@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_images_do_not_depend_on_which_were_asked_for_or_when(
    weights: Path, tmp_path: Path, bits: str, noise_mode: str
) -> None:
    options = ("--noise-mode", noise_mode, "--bits", bits)
    for name, orders in {"a": ["0-5"], "b": ["5,3", "4,0-2"], "c": ["2", "5,4,3", "1,0", "0-5"]}.items():
        for seeds in orders:
            assert sample(weights, tmp_path / name, "--seeds", seeds, *options) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_whole_files_stay_and_others_are_drawn_anew(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert sample(weights, out, "--seeds", "0-3") == 0
    whole, when = contents(out), (out / "seed0000.png").stat().st_mtime_ns
    (out / "seed0001.png").write_bytes(whole["seed0001.png"][:-7])
    (out / "seed0002.png").unlink()
    (out / ".tmp-seed0002-abc.png").write_bytes(b"half")
    capsys.readouterr()
    assert sample(weights, out, "--seeds", "0-3") == 0
    assert contents(out) == whole
    assert (out / "seed0000.png").stat().st_mtime_ns == when
    assert "4 images in" in (said := capsys.readouterr().out)
    assert ", 2 of them drawn before" in said


def test_other_settings_or_weights_do_not_mix(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_gan(tmp_path / "others", w_dim=7)
    assert sample(weights, tmp_path / "out", "--seeds", "0") == 0
    before = contents(tmp_path / "out")
    for source, args, words in [
        (weights, ("--truncation-psi", "1"), "holds images drawn with truncation_psi = 0.7, not 1.0; choose another"),
        (weights, ("--bits", "16"), "holds images drawn with bits = 8, not 16"),
        (tmp_path / "others", (), f"holds images of other weights ({weights})"),
    ]:
        assert sample(source, tmp_path / "out", "--seeds", "0-3", *args) == 2
        assert words in capsys.readouterr().err
    assert contents(tmp_path / "out") == before


@pytest.mark.slow
def test_two_processes_draw_what_one_draws(weights: Path, tmp_path: Path) -> None:
    options = ("--seeds", "0-8", "--noise-mode", "random", "--bits", "16")
    assert sample(weights, tmp_path / "one", *options) == 0
    command = ("gan", "sample", "--weights", str(weights), "--out", str(tmp_path / "two"), *options, "--devices", "2")
    done = run_segkit(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert done.stdout.count("9 images in") == 1


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(weights: Path, tmp_path: Path) -> None:
    options = ("--seeds", "0-199", "--noise-mode", "random")
    process = start_segkit(
        *("gan", "sample", "--weights", str(weights), "--out", str(tmp_path / "killed"), *options),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and len(list((tmp_path / "killed").glob("seed*.png"))) < 8:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    drawn = len(list((tmp_path / "killed").glob("seed*.png")))
    assert 8 <= drawn < 200
    assert sample(weights, tmp_path / "killed", *options) == 0
    assert sample(weights, tmp_path / "whole", *options) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_stage_s_folder_is_drawn_from(finished_runs: Path, tmp_path: Path) -> None:
    assert sample(next(finished_runs.glob("gan-*")), tmp_path, "--seeds", "0-3") == 0
    assert files_below(tmp_path) == {"sampling.json", *(f"seed000{seed}.png" for seed in range(4))}


def test_without_weights_it_is_the_recipes_part(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segkit_here("gan", "sample", "-c", str(config), "--runs", str(tmp_path), "--dry-run") == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in said] == ["data:", "gan:", "samples:"]


def test_options_of_the_two_forms_do_not_mix(
    weights: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = ("--weights", str(weights), "--seeds", "0", "--out", str(tmp_path / "out"))
    for args, words in [
        ((*drawing, "-c", str(config)), "--config is for the recipe's samples"),
        ((*drawing, "--set", "gan.kimg=1"), "--set is for the recipe's samples"),
        ((*drawing, "--data", "phantom"), "--data is for the recipe's samples"),
        ((*drawing, "--dry-run"), "--dry-run is for the recipe's samples"),
        (("--seeds", "0"), "--seeds needs --weights"),
        (("-c", str(config), "--out", str(tmp_path)), "--out needs --weights"),
        (("-c", str(config), "--bits", "16"), "--bits needs --weights"),
        (drawing[:2], "--weights needs --seeds and --out"),
        (drawing[:4], "--weights needs --seeds and --out"),
    ]:
        assert segkit_here("gan", "sample", *args) == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_drawn_is_told_in_a_line(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "seed0000.png").touch()
    good = {"--weights": weights, "--seeds": "0-2", "--out": tmp_path / "out"}
    for changes, code, words in [
        ({"--seeds": ""}, 2, "Invalid value for '--seeds'"),
        ({"--seeds": "5-3"}, 2, "'5-3' is reversed; write 3-5"),
        ({"--seeds": "-4"}, 2, "a seed is not negative"),
        ({"--seeds": "0-99999999"}, 2, "more than 1,000,000 seeds"),
        ({"--weights": tmp_path / "nowhere"}, 2, "neither a path nor a name"),
        ({"--weights": tmp_path / "strange"}, 2, "holds no GAN weights"),
        ({"--weights": tmp_path / "file"}, 2, "as a snapshot of StyleGAN2-ADA"),
        ({"--out": tmp_path / "file"}, 2, "file is a file; name a folder"),
        ({"--out": tmp_path / "file" / "below"}, 2, "file, which is a file; name another folder"),
        ({"--out": tmp_path / "strange"}, 2, "no sampling.json that says how they were drawn"),
        ({"--truncation-psi": "3"}, 2, "Invalid value for '--truncation-psi'"),
        ({"--truncation-cutoff": "-1"}, 2, "truncation_cutoff = -1: input should be greater than or equal to 0"),
        ({"--noise-mode": "loud"}, 2, "'loud' is not one of"),
        ({"--bits": "12"}, 2, "'12' is not one of"),
        ({"--devices": "two"}, 2, "devices = 'two'"),
        ({"--devices": "0"}, 2, "devices = 0"),
        ({"--grid": tmp_path / "grid.bmp"}, 2, "grid.bmp does not end in .png, .jpg or .jpeg"),
        ({"--grid": tmp_path / "folder.png"}, 2, "folder.png is a folder; name a file"),
        ({"--grid": tmp_path / "file" / "grid.png"}, 2, "file, which is a file; name another file"),
    ]:
        args = [str(item) for pair in (good | changes).items() for item in pair]
        assert segkit_here("gan", "sample", *args) == code, changes
        err = capsys.readouterr().err
        assert words in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_and_the_run_goes_on_later(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = 2

    def nearly_full(self: Path, data: bytes) -> int:
        nonlocal left
        if self.suffix == ".png":
            left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        with self.open("wb") as file:
            return file.write(data)

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", nearly_full)
        assert sample(weights, tmp_path / "out", "--seeds", "0-4") == 1
    assert "No space left on device; free some and run again" in capsys.readouterr().err
    assert files_below(tmp_path / "out") == {"sampling.json", "seed0000.png", "seed0001.png"}
    assert sample(weights, tmp_path / "out", "--seeds", "0-4") == 0
    assert sample(weights, tmp_path / "whole", "--seeds", "0-4") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("channels", [1, 4])
def test_gray_and_transparent_images_are_drawn_too(tmp_path: Path, channels: int) -> None:
    save_gan(tmp_path / "weights", image_channels=channels)
    assert sample(tmp_path / "weights", tmp_path / "out", "--seeds", "3", "--grid", tmp_path / "grid.jpg") == 0
    generator = read_generator(tmp_path / "weights")[1]
    colour = images.read_image(tmp_path / "out" / "seed0003.png")
    drawn = generate(generator, 3, 0.7)
    np.testing.assert_array_equal(colour, drawn[..., :3] if channels == 4 else drawn.repeat(3, axis=2))
    assert images.read_image(tmp_path / "grid.jpg").shape == (16, 16, 3)
