"""`segkit gan project`: the nearest image that a GAN can draw to a given one."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from segkit.cli.gan_options import seed_option, weights_option
from segkit.cli.options import PATH, folder_option

if TYPE_CHECKING:
    import torch

    from gan.drawing.distances import Features, FeatureSource


@click.command()
@weights_option
@folder_option("Folder for the results, in which each image gets a folder of its name.", required=True)
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Steps of the search.")
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
    type=PATH,
    help="Also compare a network's features: a teacher's folder; or a TorchScript file, called with float RGB "
    "(1, 3, r, r) of 0 to 255. Loading such a file runs code of whoever made it: name only one that you trust.",
)
@seed_option("Seed of the search.")
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="IMAGE...")
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
    """Search for the intermediate latent w whose image is nearest to each IMAGE.

    For each image, made square as in training, it writes projected.png, comparison.png (the image, its projection, four
    times their difference), w.safetensors (w and noise) and distances.csv (of each step). Distances are taken between
    pixels on all scales. Projections that exist are kept, so a killed command continues with the next image.
    """
    from gan.drawing.projection import ProjectionSettings
    from gan.drawing.projection_run import project_images
    from gan.drawing.sampling import fastest_device
    from segkit.core.config import validate
    from segkit.core.progress import tracked

    values = {"num_steps": steps, "space": space, "noise": noise, "seed": seed}
    settings = validate(ProjectionSettings, values, "segkit gan project")
    device = fastest_device()
    source = None if features is None else _load_features(features, device)
    project_images(weights, paths, out, settings, source, device, report=click.echo, track=tracked)


def _load_features(path: Path, device: "torch.device") -> "FeatureSource":
    """A teacher's encoder, or the network of a TorchScript file."""
    from gan.drawing.distances import FeatureSource, script_features
    from segkit.core.errors import RequestError
    from segkit.core.files import sha256_file, sha256_json
    from segkit.data.settings import NO_PREPROCESSING
    from segkit.tasks.weights import DESCRIPTION, TENSORS, load_encoder

    if not path.is_dir():
        features = script_features(path, device)
        return FeatureSource(path, sha256_file(path), features)
    encoder = load_encoder(path).to(device).requires_grad_(False)
    if encoder.preprocessing != NO_PREPROCESSING:
        raise RequestError(f"{path} was trained on preprocessed images; give a model without preprocessing")
    digest = sha256_json([sha256_file(path / name) for name in (DESCRIPTION, TENSORS)])
    return FeatureSource(path, digest, cast("Features", encoder.network.features))
