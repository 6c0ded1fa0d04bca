"""`segkit gan project`: what a GAN can draw of a given image, and what it cannot."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from segkit.cli.seeds import LARGEST_SEED

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from gan.distances import Features, Measure
    from gan.projection import Projection

_GAIN = 4


@click.command()
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder of GAN weights, or a .pkl of NVIDIA's.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder in it for each image.")
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Of the search.")
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
    help="Also compare a network's features: a teacher's folder, or a TorchScript file. Such a file can run code of "
    "whoever made it.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    default=0,
    show_default=True,
    help="Of what is random in the search.",
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
    """Find the w whose image comes nearest to each IMAGE, and show what remains.

    For each image, made square as in training: projected.png, comparison.png (the image, its projection, four times
    their difference), w.safetensors and distances.csv. Distances are taken between pixels on all scales.
    """
    from gan.data import load_images
    from gan.distances import feature_measure, pyramid_measure, sum_of
    from gan.noise import synthesise
    from gan.projection import ProjectionSettings
    from gan.projection import project as search
    from gan.sampling import fastest_device, levels_8bit, read_generator
    from segkit.cli.progress import tracked
    from segkit.core.config import validate
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
    mean_pm1 = synthesise(generator.synthesis, generator.mapping.broadcast(generator.mapping.w_avg[None]), {})[0].cpu()
    for number, (name, levels) in enumerate(zip(names, targets, strict=True), start=1):
        label = f"project {name} ({number}/{len(names)})"
        watched = partial(tracked, total=steps, label=label, unit="step")
        found = search(generator, levels.float() / 127.5 - 1, measure, settings, watched)
        target, projected = levels.permute(1, 2, 0).numpy(), levels_8bit(found.image_pm1)
        _write(out / name, target, projected, found)
        near, mean = _closeness(target, projected), _closeness(target, levels_8bit(mean_pm1))
        click.echo(f"{out / name}: {near} (the GAN's mean image: {mean})")


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
    from gan.distances import script_features
    from segkit.tasks.weights import load_encoder

    if not source.is_dir():
        return script_features(source, device)
    encoder = load_encoder(source).to(device).requires_grad_(False)
    return cast("Features", encoder.network.features)


def _write(
    folder: Path, target: "npt.NDArray[np.uint8]", projected: "npt.NDArray[np.uint8]", found: "Projection"
) -> None:
    import numpy as np
    from safetensors.torch import save

    from segkit.core import images
    from segkit.core.files import write_text
    from segkit.tasks.callbacks import as_csv

    difference = np.minimum(np.abs(target.astype(int) - projected) * _GAIN, 255).astype(np.uint8)
    shown = [_shown(picture) for picture in (target, projected, difference)]
    images.write_image(folder / "projected.png", projected)
    images.write_image(folder / "comparison.png", np.concatenate(shown, axis=1))
    write_text(
        folder / "distances.csv",
        as_csv([{"step": float(number), **step._asdict()} for number, step in enumerate(found.steps)]),
    )
    tensors = {"w": found.ws[0], **{f"noise.{name}": value for name, value in found.noise.items()}}
    images.write_bytes(
        folder / "w.safetensors", save({name: value.cpu().contiguous() for name, value in tensors.items()})
    )


def _shown(image: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.uint8]":
    """Gray or RGB without alpha."""
    return image[:, :, :1] if image.shape[2] < 3 else image[:, :, :3]


def _closeness(target: "npt.NDArray[np.uint8]", image: "npt.NDArray[np.uint8]") -> str:
    import numpy as np
    from skimage.metrics import structural_similarity

    mean_square = float(np.mean((target.astype(float) - image) ** 2))
    ratio = "no difference" if mean_square == 0 else f"PSNR {10 * np.log10(255**2 / mean_square):.1f} dB"
    return f"{ratio}, SSIM {structural_similarity(target, image, channel_axis=2, data_range=255):.3f}"
