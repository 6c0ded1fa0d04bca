"""`segkit gan`: everything about the GAN; a file for each command that is more than a part of a recipe."""

from collections.abc import Mapping

import click

from segkit.cli.lazy import lazy_group

COMMANDS: Mapping[str, tuple[str, str]] = {
    "train": ("segkit.cli.aliases:gan_train", "Train the recipe's GAN on the training images."),
    "sample": ("segkit.cli.gan_sample:sample", "Draw the images of seeds."),
    "evaluate": ("segkit.cli.gan_evaluate:evaluate", "Measure quality, variety and copying against the photographs."),
    "interpolate": ("segkit.cli.gan_walk:interpolate", "Walk through W between seeds, as a strip or a film."),
    "mix": ("segkit.cli.gan_walk:mix", "A grid of style mixing."),
    "project": ("segkit.cli.gan_project:project", "Find the w that draws an image best."),
    "import": ("segkit.cli.gan_import:import_weights", "Turn NVIDIA's .pkl into weights that cannot run code."),
}


@click.group(cls=lazy_group(COMMANDS))
def gan() -> None:
    """Train a GAN, draw from it, measure it, import NVIDIA's weights."""
