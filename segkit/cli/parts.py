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


@click.group()
def gan() -> None:
    """Train a GAN, draw from it, import NVIDIA's weights."""


@gan.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the networks.")
def import_weights(file: Path, out: Path) -> None:
    """Turn a .pkl of NVIDIA's stylegan2-ada-pytorch into weights that cannot run code, without running its own.

    The folder keeps NVIDIA's licence. Start from it with --set gan.init_from=OUT; the .pkl itself does as well.
    """
    from gan.interop.convert import import_snapshot
    from gan.settings import presets_with

    found = import_snapshot(file, out)
    fitting = presets_with(found.resolution, found.channel_base, found.num_mapping_layers)
    click.echo(
        f"{out}: {found.resolution}x{found.resolution}, {found.image_channels} image channels, "
        f"{found.num_mapping_layers} mapping layers, channel_base {found.channel_base}, "
        f"channel_max {found.channel_max}, z {found.z_dim}, w {found.w_dim}; "
        f"augmentation had reached p = {found.augment_p:.3f}\n"
        f"presets with networks of this size: {', '.join(fitting) or 'none; set these values'}"
    )


gan.command("train")(_part("gan", "Train the recipe's GAN on the training images."))
gan.command("sample")(_part("samples", "Train the recipe's GAN if need be, and draw its samples."))
pseudo_label = click.command("pseudo-label")(_part("pseudo-labels", "Label the synthetic fundi with the teacher."))
ensemble = click.command("ensemble")(
    _part("ensemble", "Combine the recipe's models; the rule is chosen on validation.")
)
