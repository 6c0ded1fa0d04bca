"""Write videos: GIF, WebP and animated PNG by Pillow, MP4 (VP9) by OpenCV, which albumentations installs."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from segkit.core.arrays import Pixels
from segkit.core.errors import SegkitError
from segkit.core.images import write_bytes

SUFFIXES = (".gif", ".webp", ".apng", ".mp4")

_PALETTE_PIXELS = 100_000

Frames = Sequence[Pixels]


def write_video(path: Path, frames: Frames, fps: int) -> None:
    """Write frames, uint8 (h, w, 3) of one size, as a looping video in the format of the path's suffix.

    APNG is lossless; the others are lossy, without flicker in areas that do not change. GIF stores times in hundredths
    of a second, so 24 frames per second become 25.

    Raises:
        ValueError: the suffix is none of `SUFFIXES`.
        SegkitError: the file cannot be written; nothing is left behind.
    """
    encoders = {".gif": _gif, ".webp": _webp, ".apng": _apng, ".mp4": _mp4}
    if path.suffix.lower() not in encoders:
        raise ValueError(f"unknown video format {path.suffix or 'without a suffix'}; use one of {', '.join(SUFFIXES)}")
    write_bytes(path, encoders[path.suffix.lower()](frames, fps))


def _gif(frames: Frames, fps: int) -> bytes:
    # One palette for all frames and no dithering: separate palettes would make the picture flicker.
    palette = _palette(np.stack(frames))
    pictures = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    return _encode(pictures, "GIF", duration=10 * round(100 / fps))


def _palette(frames: Pixels) -> Image.Image:
    """256 colours for (n, h, w, 3), computed from a part of the pixels; k-means keeps colours of small bright areas."""
    pixels = frames.reshape(-1, 3)
    # An odd step visits every column of frames whose width is a power of two.
    sample = pixels[:: math.ceil(len(pixels) / _PALETTE_PIXELS) | 1]
    return Image.fromarray(sample[None]).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)


def _webp(frames: Frames, fps: int) -> bytes:
    pictures = [Image.fromarray(frame) for frame in frames]
    return _encode(pictures, "WEBP", duration=round(1000 / fps), quality=90, method=4)


def _apng(frames: Frames, fps: int) -> bytes:
    return _encode([Image.fromarray(frame) for frame in frames], "PNG", duration=round(1000 / fps))


def _encode(pictures: Sequence[Image.Image], file_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    pictures[0].save(buffer, file_format, save_all=True, append_images=pictures[1:], loop=0, **options)
    return buffer.getvalue()


def _mp4(frames: Frames, fps: int) -> bytes:
    # VP9, because browsers do not play MPEG-4 Part 2 and OpenCV's wheels have no H.264 encoder.
    import cv2

    height, width = frames[0].shape[:2]
    with TemporaryDirectory() as folder:
        file = f"{folder}/film.mp4"
        writer = cv2.VideoWriter(file, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"vp09"), float(fps), (width, height))
        if not writer.isOpened():
            raise SegkitError("this OpenCV cannot write MP4 videos; choose .webp, .gif or .apng")
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
        writer.release()
        written = int(cv2.VideoCapture(file).get(cv2.CAP_PROP_FRAME_COUNT))  # release() does not report a full disk
        if written != len(frames):
            raise SegkitError(f"only {written} of {len(frames)} frames were encoded; is there space in {folder}?")
        return Path(file).read_bytes()
