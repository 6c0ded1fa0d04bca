"""`segkit gan`: everything about the GAN; a file for each command that is more than a part of a recipe."""

from collections.abc import Mapping

import click

from segkit.cli.lazy import lazy_group

COMMANDS: Mapping[str, tuple[str, str]] = {
    "train": ("segkit.cli.aliases:gan_train", "Train the recipe's GAN on the training images."),
    "sample": ("segkit.cli.gan_sample:sample", "Generate the images of seeds."),
    "evaluate": ("segkit.cli.gan_evaluate:evaluate", "Measure quality, variety and copying against the photographs."),
    "interpolate": ("segkit.cli.gan_walk:interpolate", "Interpolate between seeds in W, as a strip or a film."),
    "mix": ("segkit.cli.gan_walk:mix", "Generate a grid of style mixing."),
    "project": ("segkit.cli.gan_project:project", "Find the w whose image is nearest to a photograph."),
    "import": ("segkit.cli.gan_import:import_weights", "Turn NVIDIA's .pkl into weights that cannot run code."),
}


@click.group(cls=lazy_group(COMMANDS))
def gan() -> None:
    """Train a GAN, generate images with it, evaluate it, and import NVIDIA's weights."""
