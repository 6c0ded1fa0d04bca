"""Parts of a recipe under the names users think in: each runs the recipe up to one stage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from segkit.cli.pipeline import conduct
from segkit.cli.recipes import resolve, runs_option, settings_options

RECIPE = "synthetic-aug"


def _part(stage: str, summary: str) -> Callable[..., Any]:
    @settings_options
    @runs_option
    @click.option("--dry-run", is_flag=True, help="Say what would run, and run nothing.")
    def run(config: Path | None, overrides: tuple[str, ...], data: str | None, runs: Path, dry_run: bool) -> None:
        conduct(resolve(RECIPE, config, overrides, data), runs, stage, dry_run)

    run.__doc__ = summary
    return run


@click.command()
@click.option(
    "--stage", "name", default="teacher", show_default=True, help="The network: teacher, a student or a control."
)
@settings_options
@runs_option
@click.option("--dry-run", is_flag=True, help="Say what would run, and run nothing.")
def train(
    name: str, config: Path | None, overrides: tuple[str, ...], data: str | None, runs: Path, dry_run: bool
) -> None:
    """Train one network of the recipe, and whatever it needs."""
    conduct(resolve(RECIPE, config, overrides, data), runs, name, dry_run)


gan_train = click.command("train")(_part("gan", "Train the recipe's GAN on the training images."))
pseudo_label = click.command("pseudo-label")(_part("pseudo-labels", "Label the synthetic fundi with the teacher."))
ensemble = click.command("ensemble")(
    _part("ensemble", "Combine the recipe's models; validation images choose the rule.")
)
