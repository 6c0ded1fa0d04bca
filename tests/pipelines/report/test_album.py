import base64
import io

import numpy as np
import pytest
from PIL import Image

from pipelines.report import album as pictures
from pipelines.report.album import FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE, Album

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (9, 8, 3), dtype=np.uint8)
PREDICTION, VESSELS, FOV = (RNG.random((9, 8)) < 0.5 for _ in range(3))


def test_an_overlay_colours_each_pixel_by_what_became_of_it() -> None:
    drawn = pictures.overlay(IMAGE, PREDICTION, VESSELS, FOV)
    for y in range(9):
        for x in range(8):
            pixel = tuple(int(level) for level in drawn[y, x])
            if FOV[y, x] and (PREDICTION[y, x] or VESSELS[y, x]):
                colours = {(True, True): TRUE_POSITIVE, (True, False): FALSE_POSITIVE, (False, True): FALSE_NEGATIVE}
                assert pixel == colours[bool(PREDICTION[y, x]), bool(VESSELS[y, x])]
            else:
                red, green, blue = (int(level) for level in IMAGE[y, x])
                assert len(set(pixel)) == 1
                assert pixel[0] == pytest.approx(0.5 * (0.299 * red + 0.587 * green + 0.114 * blue), abs=1)


def luminance(colour: tuple[int, int, int]) -> float:
    """Relative luminance of sRGB (WCAG 2)."""
    linear = [
        level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in (c / 255 for c in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_what_was_found_differs_in_lightness_from_what_was_not() -> None:
    own = luminance(TRUE_POSITIVE)
    for colour in (FALSE_POSITIVE, FALSE_NEGATIVE):
        assert (own + 0.05) / (luminance(colour) + 0.05) > 2


def test_a_picture_shrinks_but_never_grows() -> None:
    big = RNG.integers(0, 256, (60, 30, 3), dtype=np.uint8)
    assert pictures.shrink(big, 20).shape == (20, 10, 3)
    assert pictures.shrink(big, 600) is big


def decoded(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_come_back_by_their_number() -> None:
    album = Album()
    dark, light = (np.full((20, 30, 3), level, np.uint8) for level in (10, 240))
    added = [album.add(dark, "dark"), album.add(light, "light")]
    shown = [album.encode()[picture.number] for picture in added]
    assert [np.asarray(decoded(file.uri)).mean() for file in shown] == pytest.approx([10, 240], abs=1)
    assert (shown[0].width, shown[0].height) == (30, 20)


def test_an_album_fits_its_budget_whatever_is_in_it() -> None:
    album = Album(budget_bytes=40_000)
    for seed in range(6):
        album.add(np.random.default_rng(seed).integers(0, 256, (300, 280, 3), dtype=np.uint8), "noise")
    files = album.encode()
    assert len(files) == 6
    assert sum(len(base64.b64decode(file.uri.partition(",")[2])) for file in files) <= 40_000
    assert all(decoded(file.uri).size == (file.width, file.height) for file in files)


def test_an_album_may_be_empty() -> None:
    assert Album().encode() == []


def test_a_choice_of_images_spans_the_worst_and_the_best() -> None:
    names = [str(number) for number in range(20)]
    chosen = pictures.evenly_spaced(names, 4)
    assert (chosen[0], chosen[-1], len(chosen)) == ("0", "19", 4)
    assert pictures.evenly_spaced(names[:3], 4) == names[:3]
    assert pictures.evenly_spaced(names, 1) == ["0"]
    assert pictures.evenly_spaced(names, 0) == []
