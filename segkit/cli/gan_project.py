"""`segkit gan project`: what a GAN can draw of a given image, and what it cannot."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from segkit.cli.gan_options import weights_option
from segkit.cli.seeds import LARGEST_SEED

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from gan.drawing.distances import Features, Measure


@click.command()
@weights_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the results, in which each image gets a folder of its name.",
)
@click.option(
    "--steps", type=click.IntRange(1), default=1000, show_default=True, help="How many steps the search takes."
)
@click.option(
    "--space",
    type=click.Choice(["w", "w+"]),
    default="w",
    show_default=True,
    help="One w for all layers, or one for each: nearer, but also to what the GAN would never draw.",
)
@click.option(
    "--noise",
    type=click.Choice(["optimise", "const"]),
    default="optimise",
    show_default=True,
    help="Search for the per-pixel noise too, as the paper does, or keep the network's own.",
)
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    help="Also compare a network's features: a teacher's folder; or a TorchScript file, called with float RGB "
    "(1, 3, r, r) of 0 to 255. Loading such a file runs code of whoever made it: name only one that you trust.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    default=0,
    show_default=True,
    help="Seed of what is random in the search.",
)
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="IMAGE...")
def project(
    weights: Path,
    out: Path,
    steps: int,
    space: Literal["w", "w+"],
    noise: Literal["optimise", "const"],
    features: Path | None,
    seed: int,
    paths: tuple[Path, ...],
) -> None:
    """Find the w, the GAN's inner code of an image, that draws each IMAGE best, and show what it cannot draw.

    For each image, made square as in training: projected.png, comparison.png (the image, its projection, four times
    their difference), w.safetensors (w and noise) and distances.csv (of each step). Distances are taken between pixels
    on all scales. Projections that are there already are kept, so that a killed command goes on with the next image.
    """
    from gan.drawing.distances import feature_measure, pyramid_measure, sum_of
    from gan.drawing.projection import ProjectionSettings
    from gan.drawing.projection import project as search
    from gan.drawing.projection_folder import ProjectionFolder
    from gan.drawing.sampling import fastest_device, levels_8bit, read_generator
    from gan.networks.noise import synthesise
    from gan.training.data import load_images
    from segkit.cli.progress import tracked
    from segkit.core.config import validate
    from segkit.core.determinism import deterministic_kernels
    from segkit.core.outputs import check_folder

    check_folder(out, "--out")
    names = _names(paths)
    for name in names:
        check_folder(out / name, "--out")
    settings = validate(
        ProjectionSettings, {"num_steps": steps, "space": space, "noise": noise, "seed": seed}, "segkit gan project"
    )
    network, generator = read_generator(weights)
    targets = load_images(paths, network)
    device = fastest_device()
    generator.to(device)
    measure: Measure = pyramid_measure
    if features is not None:
        measure = sum_of([pyramid_measure, feature_measure(_features(features, device))])
    with deterministic_kernels(device):
        mean_ws = generator.mapping.broadcast(generator.mapping.w_avg[None])
        mean = levels_8bit(synthesise(generator.synthesis, mean_ws, {})[0].cpu())
    folder = ProjectionFolder(out, network)
    with folder.lock(names, on_wait=click.echo):
        digest = None if features is None else _digest(features)
        folder.claim(generator, settings, device.type, weights, features, digest)
        there = [folder.holds(name, target) for name, target in zip(names, targets, strict=True)]
        for number, (name, target, is_there) in enumerate(zip(names, targets, there, strict=True), start=1):
            if is_there:
                click.echo(f"{out / name}: projected before")
                continue
            watched = partial(tracked, total=steps, label=f"project {name} ({number}/{len(names)})", unit="step")
            found = search(generator, target.float() / 127.5 - 1, measure, settings, watched)
            folder.write(name, target, found)
            levels = target.permute(1, 2, 0).numpy()
            near = _closeness(levels, levels_8bit(found.image_pm1))
            click.echo(f"{out / name}: {near} (the GAN's mean image: {_closeness(levels, mean)})")


def _names(paths: tuple[Path, ...]) -> list[str]:
    from segkit.core import images
    from segkit.core.errors import RequestError

    for path in paths:
        images.read_size(path)  # a file that is no image is told before the first one is projected
    names = [path.stem for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RequestError(f"two images are called {twice[0]!r}; their results would overwrite each other")
    return names


def _features(source: Path, device: "torch.device") -> "Features":
    """A teacher's encoder, or the network of a TorchScript file."""
    from gan.drawing.distances import script_features
    from segkit.tasks.weights import load_encoder

    if not source.is_dir():
        return script_features(source, device)
    encoder = load_encoder(source).to(device).requires_grad_(False)
    return cast("Features", encoder.network.features)


def _digest(features: Path) -> str:
    """What tells a model's folder or a file from others."""
    from segkit.core.files import sha256_file, sha256_json
    from segkit.tasks.weights import DESCRIPTION, TENSORS

    if features.is_file():
        return sha256_file(features)
    return sha256_json([sha256_file(features / name) for name in (DESCRIPTION, TENSORS)])


def _closeness(target: "npt.NDArray[np.uint8]", image: "npt.NDArray[np.uint8]") -> str:
    import numpy as np
    from skimage.metrics import structural_similarity

    mean_square = float(np.mean((target.astype(float) - image) ** 2))
    ratio = "no difference" if mean_square == 0 else f"PSNR {10 * np.log10(255**2 / mean_square):.1f} dB"
    return f"{ratio}, SSIM {structural_similarity(target, image, channel_axis=2, data_range=255):.3f}"
