from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segkit.core import images
from segkit.core.errors import ImageError, SegkitError
from tests.reference import data_png


def _rgb(height: int = 9, width: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".ppm"])
def test_a_written_image_reads_back_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    images.write_image(tmp_path / f"a{suffix}", _rgb())
    np.testing.assert_array_equal(images.read_image(tmp_path / f"a{suffix}"), _rgb())


@pytest.mark.parametrize(("suffix", "options"), [(".webp", {"lossless": True}), (".bmp", {})])
def test_webp_and_bmp_are_read(tmp_path: Path, suffix: str, options: dict[str, bool]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(image).save(path, **options)
    assert suffix in images.SUFFIXES
    np.testing.assert_array_equal(images.read_image(path), image)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ImageError, match="damaged"):
        images.read_image(path)


def test_frames_are_counted(tmp_path: Path) -> None:
    first, second = (Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 200))
    for suffix in (".gif", ".tif", ".webp"):
        first.save(tmp_path / f"two{suffix}", save_all=True, append_images=[second])
        assert images.num_frames(tmp_path / f"two{suffix}") == 2
    first.save(tmp_path / "one.png")
    assert images.num_frames(tmp_path / "one.png") == 1


@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif"])
def test_a_written_mask_reads_back_and_is_stored_as_0_and_255(tmp_path: Path, suffix: str) -> None:
    mask = _rgb()[..., 0] > 100
    images.write_mask(tmp_path / f"a{suffix}", mask)
    np.testing.assert_array_equal(images.read_mask(tmp_path / f"a{suffix}"), mask)
    with Image.open(tmp_path / f"a{suffix}") as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("L")), mask * 255)


def _by_opencv(path: Path, channels: int) -> np.ndarray:
    """Levels (h, w, channels) as another library reads them; it gives gray with alpha as BGRA."""
    levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return levels.reshape(*levels.shape[:2], -1)[..., {1: [0], 2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_of_gray_and_colour_with_and_without_alpha_is_kept(
    tmp_path: Path, channels: int, dtype: type
) -> None:
    top = np.iinfo(dtype).max
    levels = np.random.default_rng(0).integers(0, top + 1, (9, 7, channels)).astype(dtype)
    levels[0, 0], levels[1, 0] = 0, top
    images.write_image(tmp_path / "a.png", levels)
    again = _by_opencv(tmp_path / "a.png", channels)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, levels)
    if channels == 1:
        images.write_image(tmp_path / "flat.png", levels[..., 0])
        assert (tmp_path / "flat.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_a_16_bit_image_has_the_head_that_its_specification_asks_for_and_is_smaller_than_its_levels(
    tmp_path: Path,
) -> None:
    ramp = np.add.outer(np.arange(64) * 900, np.arange(48) * 90)[..., None].repeat(3, axis=2).astype(np.uint16)
    images.write_image(tmp_path / "a.png", ramp)
    assert (tmp_path / "a.png").read_bytes()[:33] == data_png.png(ramp, bits=16)[:33]
    assert (tmp_path / "a.png").stat().st_size < 0.3 * ramp.nbytes
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), ramp // 256)


def test_a_whole_png_of_the_form_asked_for_is_told_from_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    images.write_image(path, _rgb())
    data, form = path.read_bytes(), (9, 7, 3, 8)
    assert images.is_complete_png(path, *form)
    assert not any(images.is_complete_png(path, *other) for other in [(7, 9, 3, 8), (9, 7, 4, 8), (9, 7, 3, 16)])
    for damaged in (b"", data[:30], data[:-1], data + b"more"):
        path.write_bytes(damaged)
        assert not images.is_complete_png(path, *form)
    assert not images.is_complete_png(tmp_path / "absent.png", *form)
    assert not images.is_complete_png(tmp_path, *form)


def test_a_jpeg_reads_back_nearly(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)
    images.write_image(tmp_path / "a.jpg", ramp)
    assert np.abs(images.read_image(tmp_path / "a.jpg").astype(int) - ramp).max() <= 4


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_its_upper_byte_whatever_its_channels(tmp_path: Path, channels: int) -> None:
    levels = np.random.default_rng(1).integers(0, 65536, (6, 5, channels))
    (tmp_path / "a.png").write_bytes(data_png.png(levels, bits=16))
    colour = levels[..., :3] if channels > 2 else np.repeat(levels[..., :1], 3, axis=2)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), colour // 256)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_8_bit_png_is_read_as_it_is_and_alpha_is_ignored(tmp_path: Path, channels: int) -> None:
    levels = np.random.default_rng(1).integers(0, 256, (6, 5, channels))
    (tmp_path / "a.png").write_bytes(data_png.png(levels, bits=8))
    colour = levels[..., :3] if channels > 2 else np.repeat(levels[..., :1], 3, axis=2)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), colour)


def test_16_bit_tiff_of_either_byte_order_is_not_cut_to_white(tmp_path: Path) -> None:
    levels = np.random.default_rng(2).integers(0, 65536, (6, 5)).astype(np.uint16)
    for order in ("<u2", ">u2"):
        Image.fromarray(levels.astype(order)).save(tmp_path / "a.tif")
        np.testing.assert_array_equal(images.read_image(tmp_path / "a.tif")[..., 1], levels // 256)
        np.testing.assert_array_equal(images.read_levels(tmp_path / "a.tif"), levels)


def test_16_bit_pgm_keeps_all_its_levels(tmp_path: Path) -> None:
    levels = np.random.default_rng(3).integers(0, 65536, (6, 5))
    (tmp_path / "a.pgm").write_bytes(data_png.pgm(levels))
    np.testing.assert_array_equal(images.read_levels(tmp_path / "a.pgm"), levels)


def test_probabilities_come_back_to_half_a_level_and_levels_exactly(tmp_path: Path) -> None:
    probs = np.random.default_rng(4).random((20, 30)).astype(np.float32)
    probs[0, :2] = 0, 1
    images.write_probs(tmp_path / "p.png", probs)
    again = images.read_probs(tmp_path / "p.png")
    assert again.dtype == np.float32
    assert np.abs(again - probs).max() <= 0.5 / 65535 + 1e-7
    assert again[0, 0] == 0
    assert again[0, 1] == 1
    images.write_probs(tmp_path / "q.png", again)
    np.testing.assert_array_equal(images.read_levels(tmp_path / "q.png"), images.read_levels(tmp_path / "p.png"))


def test_8_bit_probabilities_are_255ths(tmp_path: Path) -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    images.write_image(tmp_path / "p.png", gray)
    np.testing.assert_allclose(images.read_probs(tmp_path / "p.png"), gray / 255, atol=1e-7)


@pytest.mark.parametrize("wrong", [np.nan, -0.01, 1.01, np.inf])
def test_what_is_no_probability_is_not_written(tmp_path: Path, wrong: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        images.write_probs(tmp_path / "p.png", np.array([[0.5, wrong]]))
    assert list(tmp_path.iterdir()) == []


def test_same_array_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        images.write_image(tmp_path / f"{name}.png", _rgb())
        images.write_mask(tmp_path / f"{name}.gif", _rgb()[..., 0] > 9)
        images.write_probs(tmp_path / f"{name}_p.png", _rgb()[..., 0] / 255)
    for ending in (".png", ".gif", "_p.png"):
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_masks_of_0_and_1_and_of_8_bit_values_in_16_bit_count_as_masks(tmp_path: Path) -> None:
    mask = _rgb()[..., 0] > 100
    for number, levels in enumerate(
        (mask.astype(np.uint8), mask.astype(np.uint16), mask.astype(np.uint16) * 255, mask)
    ):
        Image.fromarray(levels).save(tmp_path / f"{number}.png")
        np.testing.assert_array_equal(images.read_mask(tmp_path / f"{number}.png"), mask)


def test_a_gray_mask_is_cut_at_half_its_range(tmp_path: Path) -> None:
    images.write_image(tmp_path / "a.png", np.array([[0, 127, 128, 255]], dtype=np.uint8))
    np.testing.assert_array_equal(images.read_mask(tmp_path / "a.png"), [[False, False, True, True]])


def test_a_palette_is_read_by_its_colours_not_its_indices(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 1], [1, 0, 0]], dtype=np.uint8)
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(images.read_mask(tmp_path / "a.gif"), indices == 0)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.gif")[..., 2], (indices == 0) * 255)


def test_a_photograph_taken_upright_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is on the right of the stored picture
    stored = np.zeros((16, 24, 3), dtype=np.uint8)
    stored[:, :8] = 255
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = images.read_image(tmp_path / "a.jpg")
    assert image.shape == (24, 16, 3)
    assert images.read_size(tmp_path / "a.jpg") == (24, 16)
    assert image[:6].min() > 240
    assert image[10:].max() < 15


@pytest.mark.parametrize("suffix", [".png", ".tif", ".gif", ".jpg", ".ppm"])
def test_a_file_cut_anywhere_is_an_error_or_has_all_its_pixels(tmp_path: Path, suffix: str) -> None:
    images.write_image(tmp_path / f"whole{suffix}", _rgb(24, 20) if suffix != ".gif" else _rgb(24, 20)[..., 0])
    data = (tmp_path / f"whole{suffix}").read_bytes()
    whole = images.read_image(tmp_path / f"whole{suffix}")
    refused = []
    for length in range(0, len(data), 13):
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(images.read_image(cut), whole)
        except ImageError as error:
            refused.append(str(error))
    assert len(refused) > 0.9 * len(data) / 13
    assert all(str(cut) in message and "\n" not in message for message in refused)


def test_the_error_gives_the_reason_why_a_file_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.tif").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "bomb.png").write_bytes(data_png.png_header(100_000, 100_000))
    Image.fromarray(np.ones((3, 3), dtype=np.float32)).save(tmp_path / "float.tif")
    for name, reason in {
        "absent.png": "not exist",
        "text.png": "not a TIFF",
        "empty.tif": "empty",
        "folder.png": "folder",
        "bomb.png": "million",
        "float.tif": "32-bit",
    }.items():
        with pytest.raises(ImageError, match=reason) as caught:
            images.read_image(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_an_image_is_read_without_a_warning_up_to_the_size_that_the_error_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.write_image(tmp_path / "large.png", np.zeros((1400, 1400, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    assert images.read_image(tmp_path / "large.png").shape == (1400, 1400, 3)
    assert images.num_frames(tmp_path / "large.png") == 1
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500_000)
    with pytest.raises(ImageError, match="more than 1 million pixels"):
        images.read_image(tmp_path / "large.png")


def test_a_write_that_fails_leaves_nothing_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.write_image(tmp_path / "a.png", _rgb())

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SegkitError, match="No space left on device"):
        images.write_image(tmp_path / "a.png", _rgb() // 2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), _rgb())


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8"):
        images.write_image(tmp_path / "a.png", np.zeros((3, 3, 3), dtype=np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 to 4"):
        images.write_image(tmp_path / "a.png", np.zeros((3, 3, 5), dtype=np.uint8))
    with pytest.raises(ValueError, match="alpha"):
        images.write_image(tmp_path / "a.jpg", np.zeros((3, 3, 4), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"\.png"):
        images.write_image(tmp_path / "a.tif", np.zeros((3, 3, 3), dtype=np.uint16))
    with pytest.raises(ValueError, match=r"\.xyz"):
        images.write_image(tmp_path / "a.xyz", _rgb())
    with pytest.raises(ValueError, match="JPEG"):
        images.write_mask(tmp_path / "a.jpg", _rgb()[..., 0] > 9)


def test_a_whole_drive_image_reads_as_its_size_says(drive_dir: Path) -> None:
    path = drive_dir / "training" / "images" / "21_training.tif"
    assert images.read_image(path).shape == (*images.read_size(path), 3) == (584, 565, 3)
    fov = images.read_mask(drive_dir / "training" / "mask" / "21_training_mask.gif")
    assert 0.65 < fov.mean() < 0.72


def test_a_tiff_cut_short_is_called_truncated_without_a_warning(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    images.write_image(whole, np.zeros((40, 30, 3), np.uint8))
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ImageError, match=r"cut\.tif"):
        images.read_image(cut)


def test_a_colour_picture_is_no_map_of_probabilities(tmp_path: Path) -> None:
    red, gray = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 7, np.uint8)
    red[..., 0] = 200
    for name, picture in {"red.png": red, "gray.png": gray}.items():
        images.write_image(tmp_path / name, picture)
    with pytest.raises(ImageError, match="colour"):
        images.read_levels(tmp_path / "red.png")
    assert (images.read_levels(tmp_path / "gray.png") == 7 * 257).all()
