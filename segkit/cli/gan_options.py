"""Options that several of the GAN's commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from segkit.cli.options import devices_option

WEIGHTS_HELP = "A GAN's folder (a training's, a snapshot's or an imported one), or a .pkl of NVIDIA's"

weights_option = click.option("--weights", type=click.Path(path_type=Path), required=True, help=f"{WEIGHTS_HELP}.")

gan_devices_option = devices_option("How many processes or GPUs share the work, or `auto`.")


def truncation_psi_option(default: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """How far from the mean image is drawn; commands that measure do not hold back, those that show do."""
    what = "Variety: 1 draws from all of W, 0 only the mean image."
    return click.option("--truncation-psi", type=float, default=default, show_default=True, help=what)
