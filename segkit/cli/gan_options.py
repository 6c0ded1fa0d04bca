"""Options that several of the GAN's commands have."""

from collections.abc import Callable

import click
from click.decorators import FC

from segkit.cli.options import devices_option, model_option
from segkit.cli.seeds import LARGEST_SEED, seeds_callback

WEIGHTS_HELP = "A GAN's folder (a training's, a snapshot's or an imported one), or a .pkl of NVIDIA's"

weights_option = model_option("gan", WEIGHTS_HELP, required=True)

gan_devices_option = devices_option("Number of processes or GPUs that share the work, or `auto`.")


def seed_option(text: str) -> Callable[[FC], FC]:
    """`--seed`, 0 by default."""
    return click.option("--seed", type=click.IntRange(0, LARGEST_SEED), default=0, show_default=True, help=text)


def seeds_option(name: str, text: str, required: bool = True) -> Callable[[FC], FC]:
    """Seeds as numbers and ranges."""
    return click.option(name, metavar="SEEDS", callback=seeds_callback, required=required, help=text)


def truncation_psi_option(default: float) -> Callable[[FC], FC]:
    """`--truncation-psi`: 1 by default where the GAN is measured, less where images are shown."""
    return click.option(
        "--truncation-psi",
        type=click.FloatRange(-2, 2),
        default=default,
        show_default=True,
        help="Variety: 1 draws from all of W, 0 only the mean image.",
    )
