"""`segkit gan sample`: the images of seeds, from given weights or as a stage of a recipe."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from pipelines.stage_types import SAMPLE
from segkit.cli import completion
from segkit.cli.aliases import alias_options, run_upto
from segkit.cli.gan_options import WEIGHTS_HELP, gan_devices_option, seeds_option, truncation_psi_option
from segkit.cli.options import NAMES, file_option, folder_option, named_model

if TYPE_CHECKING:
    from gan.settings import SamplingSettings
    from segkit.tasks.settings import RuntimeSettings

_RECIPE_OPTIONS = ("recipe", "config", "overrides", "data", "dry_run")
_DRAWING_OPTIONS = ("seeds", "out", "truncation_psi", "truncation_cutoff", "noise_mode", "bits", "devices", "grid_path")
_MAX_IN_GRID = 100


@click.command()
@click.option(
    "--weights",
    metavar="MODEL",
    shell_complete=completion.models("gan"),
    help=f"{WEIGHTS_HELP}; or {NAMES}; by default the recipe's samples are drawn.",
)
@seeds_option("--seeds", "With --weights: which images, as in 0-99,105,200-210.", required=False)
@folder_option("With --weights: folder for seed0000.png and so on.")
@truncation_psi_option(0.7)
@click.option(
    "--truncation-cutoff",
    type=int,
    help="Truncate only this number of the first styles, which are the coarse ones; by default all.",
)
@click.option(
    "--noise-mode",
    type=click.Choice(["const", "random", "none"]),
    default="const",
    show_default=True,
    help="Per-pixel noise: the network's own, drawn from the image's seed, or none.",
)
@click.option(
    "--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Bits for each colour of a pixel."
)
@gan_devices_option
@file_option(
    "--grid",
    f"Also a sheet of the first {_MAX_IN_GRID} images: a file ending in .png or .jpg.",
    *(".png", ".jpg", ".jpeg"),
)
@alias_options
@click.pass_context
def sample(
    ctx: click.Context,
    /,
    weights: str | None,
    seeds: tuple[int, ...] | None,
    out: Path | None,
    truncation_psi: float,
    truncation_cutoff: int | None,
    noise_mode: str,
    bits: str,
    devices: int | str,
    grid_path: Path | None,
    **recipe_options: Any,
) -> None:
    """Draw the images of seeds: each seed, a whole number, is one image of a GAN.

    With --weights, write one PNG for each of --seeds into --out, with the same bytes on any number of --devices. Images
    that exist are kept, so a killed command continues where it stopped. A folder with images of other settings is
    refused.

    Without --weights, train the recipe's GAN unless it is trained, and draw its samples (--recipe, --config, --set,
    --data, --runs, --dry-run).
    """
    if weights is None:
        _refuse(ctx, _DRAWING_OPTIONS, "needs --weights")
        run_upto(SAMPLE, **recipe_options)
        return
    _refuse(ctx, _RECIPE_OPTIONS, "is for the recipe's samples, which are drawn without --weights")
    if seeds is None or out is None:
        raise click.UsageError("--weights needs --seeds and --out", ctx)
    from gan.settings import SamplingSettings
    from segkit.core.config import validate
    from segkit.tasks.settings import RuntimeSettings

    values = {"truncation_psi": truncation_psi, "truncation_cutoff": truncation_cutoff, "noise_mode": noise_mode}
    sampling = validate(SamplingSettings, values, "segkit gan sample")
    runtime = validate(RuntimeSettings, {"devices": devices}, "segkit gan sample")
    _draw(
        named_model(weights, recipe_options["runs"], "gan"),
        seeds,
        out,
        sampling,
        16 if bits == "16" else 8,
        runtime,
        grid_path,
    )


def _refuse(ctx: click.Context, names: Sequence[str], reason: str) -> None:
    """Raise UsageError for an option of the other form."""
    for parameter in ctx.command.params:
        if parameter.name in names and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[-1]} {reason}", ctx)


def _draw(
    source: Path,
    seeds: tuple[int, ...],
    out: Path,
    sampling: "SamplingSettings",
    bits: Literal[8, 16],
    runtime: "RuntimeSettings",
    grid: Path | None,
) -> None:
    from gan.drawing.sampling import read_generator
    from gan.drawing.seed_folder import SeedFolder, SeedWriter
    from pipelines.execution.process import is_first_rank
    from segkit.core.wording import counted
    from segkit.tasks.trainer import build_trainer

    settings, generator = read_generator(source)
    folder = SeedFolder(out, settings, bits)
    with TemporaryDirectory() as scratch, folder.lock(on_wait=click.echo) if is_first_rank() else nullcontext():
        trainer = build_trainer(runtime, Path(scratch), "sample", precision="32-true", callbacks=[SeedWriter(folder)])
        folder.claim(generator, sampling, trainer.strategy.root_device.type, source)
        num_drawn = folder.draw_missing(trainer, generator, sampling, seeds)
    if not trainer.is_global_zero:
        return
    num_images = len(set(seeds))
    before = f", {num_images - num_drawn} of them drawn before" if num_drawn < num_images else ""
    click.echo(f"{counted(num_images, 'image')} in {out}{before} ({_description(sampling)}, {bits} bit)")
    if grid is not None:
        click.echo(f"grid of {counted(folder.write_grid(grid, seeds, _MAX_IN_GRID), 'image')} in {grid}")


def _description(sampling: "SamplingSettings") -> str:
    from segkit.core.wording import counted

    cutoff = sampling.truncation_cutoff
    styles = "" if cutoff is None else f" in the first {counted(cutoff, 'style')}"
    return f"truncation psi {sampling.truncation_psi:g}{styles}, noise {sampling.noise_mode}"
