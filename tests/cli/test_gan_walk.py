"""`segkit gan interpolate` and `segkit gan mix`."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from gan.drawing.sampling import draw_styles, generate, levels_8bit, read_generator, styles
from segkit.core import images
from tests.cli.gans import save_gan
from tests.pipelines.tiny import segkit_here


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_gan(tmp_path / "weights")
    return tmp_path / "weights"


def interpolate(weights: Path, out: Path, *args: str) -> int:
    return segkit_here("gan", "interpolate", "--weights", str(weights), "--out", str(out), *args)


def mix(weights: Path, out: Path, *args: str) -> int:
    return segkit_here("gan", "mix", "--weights", str(weights), "--out", str(out), *args)


def cells(path: Path, edge: int = 16) -> np.ndarray:
    """The images (rows, columns, edge, edge, 3) of a sheet."""
    sheet = images.read_image(path)
    rows, columns = sheet.shape[0] // edge, sheet.shape[1] // edge
    return sheet.reshape(rows, edge, columns, edge, 3).swapaxes(1, 2)


def film(path: Path) -> list[np.ndarray]:
    with Image.open(path) as found:
        frames = []
        for number in range(found.n_frames):
            found.seek(number)
            frames.append(np.asarray(found.convert("RGB")))
        return frames


@pytest.mark.parametrize("space", ["w", "z"])
def test_a_strip_goes_from_seed_to_seed_row_by_row(
    weights: Path, tmp_path: Path, space: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "strip.png"
    options = ("--seeds", "1,5,9", "--frames", "3", "--space", space, "--truncation-psi", "0.5")
    assert interpolate(weights, out, *options) == 0
    found, generator = cells(out), read_generator(weights)[1]
    assert found.shape[:2] == (2, 4)
    for row, (first, last) in zip(found, [(1, 5), (5, 9)], strict=True):
        np.testing.assert_array_equal(row[0], generate(generator, first, 0.5))
        np.testing.assert_array_equal(row[-1], generate(generator, last, 0.5))
    if space == "w":
        ws = [styles(generator, seed, 0.5) for seed in (1, 5)]
        expected = levels_8bit(draw_styles(generator, ws[0] + (ws[1] - ws[0]) / 3))
        assert np.abs(found[0, 1].astype(int) - expected).max() <= 1
    assert capsys.readouterr().out.splitlines()[-1] == f"{out}: 2 rows of 4 images"


def test_a_closed_strip_returns_to_its_beginning(weights: Path, tmp_path: Path) -> None:
    assert interpolate(weights, tmp_path / "strip.png", "--seeds", "1,5,9", "--frames", "2", "--closed") == 0
    found = cells(tmp_path / "strip.png")
    assert found.shape[:2] == (3, 3)
    np.testing.assert_array_equal(found[-1, -1], found[0, 0])


def test_a_film_is_closed_unless_it_is_to_be_open(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = read_generator(weights)[1]
    for option, count, last in (((), 9, None), (("--open",), 7, 9)):
        out = tmp_path / f"walk{count}.apng"
        assert interpolate(weights, out, "--seeds", "1,5,9", "--frames", "3", "--fps", "10", *option) == 0
        frames = film(out)
        assert len(frames) == count
        np.testing.assert_array_equal(frames[0], generate(generator, 1, 0.7))
        np.testing.assert_array_equal(frames[3], generate(generator, 5, 0.7))
        if last is not None:
            np.testing.assert_array_equal(frames[-1], generate(generator, last, 0.7))
        assert capsys.readouterr().out.splitlines()[-1] == f"{out}: {count} frames, {count / 10:.1f} s"


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_film_of_each_kind_plays(weights: Path, tmp_path: Path, suffix: str) -> None:
    assert interpolate(weights, tmp_path / f"walk{suffix}", "--seeds", "1,5", "--frames", "4") == 0
    assert len(film(tmp_path / f"walk{suffix}")) == 8


def test_an_mp4_plays(weights: Path, tmp_path: Path) -> None:
    assert interpolate(weights, tmp_path / "walk.mp4", "--seeds", "1,5", "--frames", "4") == 0
    capture, count = cv2.VideoCapture(str(tmp_path / "walk.mp4")), 0
    while (read := capture.read())[0]:
        assert read[1].shape == (16, 16, 3)
        count += 1
    assert count == 8


@pytest.mark.parametrize("channels", [1, 4])
def test_gray_and_transparent_images_become_strips_and_films(tmp_path: Path, channels: int) -> None:
    save_gan(tmp_path / "weights", image_channels=channels)
    for name in ("walk.gif", "strip.png"):
        assert interpolate(tmp_path / "weights", tmp_path / name, "--seeds", "1,5", "--frames", "2") == 0
    assert film(tmp_path / "walk.gif")[0].shape == (16, 16, 3)
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.mode == ("RGBA" if channels == 4 else "RGB")


@pytest.mark.parametrize(("layers", "taken"), [("coarse", [0, 1, 2, 3]), ("middle", [4, 5]), ("1,3-4", [1, 3, 4])])
def test_each_cell_has_its_row_s_styles_but_the_named_ones_of_its_column(
    weights: Path, tmp_path: Path, layers: str, taken: list[int]
) -> None:
    options = ("--rows", "0-1", "--columns", "10-12", "--layers", layers, "--truncation-psi", "0.8")
    assert mix(weights, tmp_path / "mix.png", *options) == 0
    found, generator = cells(tmp_path / "mix.png"), read_generator(weights)[1]
    assert found.shape[:2] == (3, 4)
    assert not found[0, 0].any()
    for number, seed in enumerate((10, 11, 12), start=1):
        np.testing.assert_array_equal(found[0, number], generate(generator, seed, 0.8))
    for row, seed in enumerate((0, 1), start=1):
        np.testing.assert_array_equal(found[row, 0], generate(generator, seed, 0.8))
        for column, other in enumerate((10, 11, 12), start=1):
            ws = styles(generator, seed, 0.8).clone()
            for layer in taken:
                ws[:, layer] = styles(generator, other, 0.8)[:, layer]
            np.testing.assert_array_equal(found[row, column], levels_8bit(draw_styles(generator, ws)))
    assert not np.array_equal(found[1, 1], found[1, 0])
    assert not np.array_equal(found[1, 1], found[0, 1])


def test_one_row_column_or_style_is_told_in_the_singular(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert interpolate(weights, tmp_path / "strip.png", "--seeds", "1,5", "--frames", "1") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'strip.png'}: 1 row of 2 images\n"
    assert mix(weights, tmp_path / "mix.png", "--rows", "0", "--columns", "1", "--layers", "4") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mix.png'}: 1 row with style 4 of 1 column\n"
    assert mix(weights, tmp_path / "mix.png", "--rows", "0-1", "--columns", "1-2", "--layers", "4,5") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mix.png'}: 2 rows with styles 4, 5 of 2 columns\n"


def test_what_cannot_be_walked_or_mixed_is_told_in_a_line(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    good = {"--seeds": "1,2", "--out": str(tmp_path / "walk.gif"), "--weights": str(weights)}
    walks = [
        ({"--seeds": "1"}, 2, "a walk needs two seeds or more"),
        ({"--seeds": "x"}, 2, "no seed or range"),
        ({"--out": str(tmp_path / "walk.avi")}, 2, "does not end in .png, .gif, .webp, .apng or .mp4"),
        ({"--out": str(tmp_path / "file" / "walk.gif")}, 2, "file, which is a file; name another file"),
        ({"--out": str(tmp_path / "folder.png")}, 2, "folder.png is a folder; name a file"),
        ({"--frames": "0"}, 2, "'--frames'"),
        ({"--fps": "100"}, 2, "'--fps'"),
        ({"--space": "x"}, 2, "'x' is not one of 'w', 'z'"),
        ({"--truncation-psi": "9"}, 2, "Invalid value for '--truncation-psi'"),
        ({"--seeds": "0-9999", "--frames": "999"}, 2, "images of 16x16 pixels are too many; the maximum is 1,953,125"),
        ({"--weights": str(tmp_path)}, 2, "holds no GAN weights"),
    ]
    base = {"--rows": "0", "--columns": "1", "--out": str(tmp_path / "mix.png"), "--weights": str(weights)}
    mixes = [
        ({"--layers": "fine"}, 2, "fine styles are those of 64 pixels and more; this network draws 16"),
        ({"--layers": "7"}, 2, "a network of 16 pixels has the styles 0-5"),
        ({"--out": str(tmp_path / "mix.jpg")}, 2, "mix.jpg does not end in .png"),
        ({"--out": str(tmp_path / "file" / "mix.png")}, 2, "file, which is a file; name another file"),
        ({"--out": str(tmp_path / "folder.png")}, 2, "folder.png is a folder; name a file"),
        ({"--rows": "0-1999", "--columns": "0-1999"}, 2, "are too many"),
        ({"--truncation-psi": "-3"}, 2, "Invalid value for '--truncation-psi'"),
    ]
    for command, given, tries in (("interpolate", good, walks), ("mix", base, mixes)):
        for changes, code, words in tries:
            args = [item for pair in (given | changes).items() for item in pair]
            assert segkit_here("gan", command, *args) == code, changes
            err = capsys.readouterr().err
            assert words in err
            assert err.startswith("error: ")
            assert err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.png", "weights"}
