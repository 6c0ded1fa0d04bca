"""Films, read back frame by frame."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segkit.core import videos
from segkit.core.errors import SegkitError


def frames(count: int = 12, edge: int = 32) -> list[np.ndarray]:
    """A bright square that goes over a smooth background."""
    rows, columns = np.mgrid[:edge, :edge] * (200 // edge)
    background = np.stack([rows + 40, columns + 20, np.full_like(rows, 60)], axis=2).astype(np.uint8)
    pictures = []
    for number in range(count):
        picture = background.copy()
        picture[8:14, number : number + 6] = (250, 240, 90)
        pictures.append(picture)
    return pictures


def read_back(path: Path) -> tuple[np.ndarray, float]:
    """Frames (n, h, w, 3) and milliseconds of each."""
    if path.suffix == ".mp4":
        capture, found = cv2.VideoCapture(str(path)), []
        while (read := capture.read())[0]:
            found.append(read[1][:, :, ::-1])
        return np.stack(found), 1000 / capture.get(cv2.CAP_PROP_FPS)
    with Image.open(path) as film:
        assert film.info["loop"] == 0
        found = []
        for number in range(film.n_frames):
            film.seek(number)
            found.append(np.asarray(film.convert("RGB")))
        return np.stack(found), float(film.info["duration"])


@pytest.mark.parametrize(
    ("suffix", "error", "duration_ms"), [(".apng", 0, 50), (".gif", 4, 50), (".webp", 4, 50), (".mp4", 6, 50)]
)
def test_a_film_plays_as_it_was_drawn(tmp_path: Path, suffix: str, error: float, duration_ms: float) -> None:
    videos.write_video(tmp_path / f"film{suffix}", frames(), fps=20)
    found, duration = read_back(tmp_path / f"film{suffix}")
    assert found.shape == (12, 32, 32, 3)
    assert np.abs(found.astype(int) - np.stack(frames())).mean() <= error
    assert duration == pytest.approx(duration_ms)
    assert [path.name for path in tmp_path.iterdir()] == [f"film{suffix}"]


def test_what_stands_still_in_a_gif_does_not_flicker(tmp_path: Path) -> None:
    videos.write_video(tmp_path / "film.gif", frames(), fps=25)
    found, _ = read_back(tmp_path / "film.gif")
    assert not np.diff(found[:, 16:].astype(int), axis=0).any()


def test_a_small_bright_part_keeps_its_colour_in_a_gif(tmp_path: Path) -> None:
    videos.write_video(tmp_path / "film.gif", frames(count=4, edge=128), fps=25)
    found, _ = read_back(tmp_path / "film.gif")
    assert np.abs(found[0, 10, 2].astype(int) - (250, 240, 90)).max() < 8


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for suffix in (".gif", ".webp", ".apng"):
        for name in ("a", "b"):
            videos.write_video(tmp_path / f"{name}{suffix}", frames(), fps=24)
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_video_that_cannot_be_written_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.avi.*\.gif, \.webp, \.apng, \.mp4"):
        videos.write_video(tmp_path / "film.avi", frames(), fps=24)
    (tmp_path / "file").touch()
    with pytest.raises(SegkitError, match="cannot write"):
        videos.write_video(tmp_path / "file" / "film.gif", frames(), fps=24)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_opencv_that_cannot_write_mp4_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2.VideoWriter, "fourcc", lambda *letters: 0)
    with pytest.raises(SegkitError, match="MP4"):
        videos.write_video(tmp_path / "film.mp4", frames(), fps=24)


def test_an_mp4_that_lost_frames_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cv2.VideoWriter

    class Losing:
        fourcc = staticmethod(whole.fourcc)

        def __init__(self, *args: object) -> None:
            self.writer, self.number = whole(*args), 0

        def isOpened(self) -> bool:  # noqa: N802
            return bool(self.writer.isOpened())

        def write(self, frame: np.ndarray) -> None:
            self.number += 1
            if self.number < 8:
                self.writer.write(frame)

        def release(self) -> None:
            self.writer.release()

    monkeypatch.setattr(cv2, "VideoWriter", Losing)
    with pytest.raises(SegkitError, match="7 of 12"):
        videos.write_video(tmp_path / "film.mp4", frames(), fps=24)
    assert list(tmp_path.iterdir()) == []
