"""Projection of several images into one folder; images that were projected before are skipped."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gan.drawing.distances import FeatureSource, feature_measure, pyramid_measure, sum_of
from gan.drawing.projection import ProjectionSettings, project
from gan.drawing.projection_folder import ProjectionFolder
from gan.drawing.sampling import draw_styles, levels_8bit, read_generator
from gan.training.data import load_images
from segkit.core.arrays import Pixels
from segkit.core.errors import RequestError
from segkit.core.images import read_size
from segkit.core.names import check_unique
from segkit.core.outputs import check_folder

Track = Callable[..., Iterable[int]]
"""Yields the items and shows progress, like `segkit.core.progress.tracked`."""


def image_names(paths: Sequence[Path], out: Path) -> list[str]:
    """The name of each image, which is also its folder's in `out`.

    Raises:
        ImageError: a file is no image.
        RequestError: two images have one name, or a folder cannot be written.
    """
    for path in paths:
        read_size(path)
    names = [path.stem for path in paths]
    check_unique(names, RequestError, "images")
    for name in names:
        check_folder(out / name, "--out")
    return names


def project_images(
    weights: Path,
    paths: Sequence[Path],
    out: Path,
    settings: ProjectionSettings,
    features: FeatureSource | None,
    device: torch.device,
    *,
    report: Callable[[str], None],
    track: Track,
) -> None:
    """Project each image into a folder of its name in `out`.

    `features` are compared besides pixels; `report` takes a line for each image, `track` shows the progress.

    Raises:
        WeightsError: as `read_generator`.
        ImageError, RequestError: as `image_names`; or `out` holds projections of other settings or images.
    """
    names = image_names(paths, out)
    network, generator = read_generator(weights)
    targets = load_images(paths, network)
    generator.to(device)
    measure = pyramid_measure if features is None else sum_of([pyramid_measure, feature_measure(features.function)])
    mean = levels_8bit(draw_styles(generator, generator.mapping.broadcast(generator.mapping.w_avg[None])))
    folder = ProjectionFolder(out, network)
    with folder.lock(names, on_wait=report):
        folder.claim(generator, settings, device.type, weights, features)
        finished = [folder.holds(name, target) for name, target in zip(names, targets, strict=True)]
        for number, (name, target) in enumerate(zip(names, targets, strict=True)):
            if finished[number]:
                report(f"{out / name}: projected before")
                continue
            label = f"project {name} ({number + 1}/{len(names)})"
            watched = partial(track, total=settings.num_steps, label=label, unit="step")
            projection = project(generator, target.float() / 127.5 - 1, measure, settings, watched)
            folder.write(name, target, projection)
            image, projected = target.permute(1, 2, 0).numpy(), levels_8bit(projection.image_pm1)
            report(f"{out / name}: {similarity(image, projected)} (the GAN's mean image: {similarity(image, mean)})")


def similarity(image: Pixels, other: Pixels) -> str:
    """PSNR and SSIM of two images (r, r, c), as text."""
    from skimage.metrics import structural_similarity

    mean_square = float(np.mean((image.astype(float) - other) ** 2))
    psnr = "no difference" if mean_square == 0 else f"PSNR {10 * np.log10(255**2 / mean_square):.1f} dB"
    return f"{psnr}, SSIM {structural_similarity(image, other, channel_axis=2, data_range=255):.3f}"
