"""Short commands that run a recipe up to one stage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pipelines import stage_types
from pipelines.stage import StageType
from segkit.cli import completion
from segkit.cli.options import F, runs_option
from segkit.cli.pipeline import run_pipeline
from segkit.cli.recipes import recipe_option, resolve, settings_options


def alias_options(command: F) -> F:
    """`--recipe`, its settings, `--runs` and `--dry-run`."""
    dry_run = click.option("--dry-run", is_flag=True, help="Print what the recipe would run, and run nothing.")
    return recipe_option(settings_options(runs_option(dry_run(command))))


def run_upto(
    last: StageType[Any] | str,
    recipe: str,
    config: Path | None,
    overrides: tuple[str, ...],
    data: str | None,
    runs: Path,
    dry_run: bool,
) -> None:
    """Run a recipe up to a stage, named or the first one of a type."""
    resolved = resolve(recipe, config, overrides, data)
    name = last if isinstance(last, str) else resolved.graph.first_of(last.name).name
    run_pipeline(resolved, runs, name, dry_run)


def _alias(last: StageType[Any], summary: str) -> Callable[..., None]:
    @alias_options
    def run(**options: Any) -> None:
        run_upto(last, **options)

    run.__doc__ = summary
    return run


@click.command()
@click.option(
    "--stage",
    metavar="NAME",
    shell_complete=completion.stages,
    help="The network; by default the recipe's first one, such as the teacher.",
)
@alias_options
def train(stage: str | None, **options: Any) -> None:
    """Train one network of a recipe, after the stages it needs."""
    run_upto(stage or stage_types.TRAIN, **options)


gan_train = click.command("train")(_alias(stage_types.GAN, "Train the recipe's GAN on the training images."))
pseudo_label = click.command("pseudo-label")(
    _alias(stage_types.PSEUDO_LABEL, "Label the synthetic images with the teacher.")
)
ensemble = click.command("ensemble")(
    _alias(stage_types.ENSEMBLE, "Combine the recipe's models; validation images choose the rule.")
)
