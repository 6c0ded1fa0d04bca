"""`segkit gan sample`: the images of seeds, from given weights or as a part of the recipe."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import click
from click.core import ParameterSource

from pipelines.stage_types import SAMPLE
from segkit.cli.aliases import alias_options, run_upto
from segkit.cli.gan_options import WEIGHTS_HELP, gan_devices_option, truncation_psi_option
from segkit.cli.seeds import seeds_callback

_OF_RECIPE = ("recipe", "config", "overrides", "data", "runs", "dry_run")
_OF_WEIGHTS = ("seeds", "out", "truncation_psi", "truncation_cutoff", "noise_mode", "bits", "devices", "grid")
_MOST_IN_GRID = 100


@click.command()
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help=f"{WEIGHTS_HELP}; without it the recipe's samples are drawn.",
)
@click.option(
    "--seeds", metavar="SEEDS", callback=seeds_callback, help="With --weights: which images, as in 0-99,105,200-210."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="With --weights: folder for seed0000.png and so on, made if need be."
)
@truncation_psi_option(0.7)
@click.option(
    "--truncation-cutoff",
    type=int,
    help="Apply the truncation to so many of the first styles only, which are the coarse ones; by default to all.",
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
@click.option(
    "--grid",
    type=click.Path(path_type=Path),
    help=f"Also a sheet of the first {_MOST_IN_GRID} images: a file ending in .png or .jpg.",
)
@alias_options
@click.pass_context
def sample(
    ctx: click.Context,
    /,
    weights: Path | None,
    seeds: tuple[int, ...] | None,
    out: Path | None,
    truncation_psi: float,
    truncation_cutoff: int | None,
    noise_mode: str,
    bits: str,
    devices: int | str,
    grid: Path | None,
    **of_recipe: Any,
) -> None:
    """Draw the images of seeds: each seed, a whole number, is one image of a GAN.

    With --weights: one PNG for each of --seeds into --out, the same bytes on any number of --devices. Images that are
    there already are kept, so that a killed command goes on where it stopped; a folder whose images were drawn
    otherwise is refused.

    Without: train the recipe's GAN if need be, and draw its samples (--recipe, --config, --set, --data, --runs,
    --dry-run).
    """
    if weights is None:
        _refuse(ctx, _OF_WEIGHTS, "needs --weights")
        run_upto(SAMPLE, **of_recipe)
        return
    _refuse(ctx, _OF_RECIPE, "is for the recipe's samples, which are drawn without --weights")
    if seeds is None or out is None:
        raise click.UsageError("--weights needs --seeds and --out", ctx)
    sampling = {"truncation_psi": truncation_psi, "truncation_cutoff": truncation_cutoff, "noise_mode": noise_mode}
    _draw(weights, seeds, out, sampling, 16 if bits == "16" else 8, devices, grid)


def _refuse(ctx: click.Context, names: Sequence[str], why: str) -> None:
    """Options of the other form must not be passed over in silence."""
    for parameter in ctx.command.params:
        if parameter.name in names and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[-1]} {why}", ctx)


def _draw(
    source: Path,
    seeds: tuple[int, ...],
    out: Path,
    sampling: Mapping[str, object],
    bits: Literal[8, 16],
    devices: int | str,
    grid: Path | None,
) -> None:
    from gan.drawing.sampling import read_generator, sample_grid
    from gan.drawing.seed_folder import SeedFolder, SeedWriter
    from gan.settings import SamplingSettings
    from gan.training.data import seeds_loader
    from gan.training.task import StyleGAN2Task
    from pipelines.worker import is_first_rank
    from segkit.core import images
    from segkit.core.config import validate
    from segkit.core.errors import RequestError
    from segkit.core.outputs import check_file, check_folder
    from segkit.core.wording import counted
    from segkit.tasks.settings import RuntimeSettings
    from segkit.tasks.trainer import build_trainer, silence_lightning

    silence_lightning()
    check_folder(out, "--out")
    if grid is not None:
        check_file(grid, "--grid", (".png", ".jpg", ".jpeg"))
    how = validate(SamplingSettings, sampling, "segkit gan sample")
    runtime = validate(RuntimeSettings, {"devices": devices}, "segkit gan sample")
    settings, generator = read_generator(source)
    if how.truncation_cutoff is not None and how.truncation_cutoff > generator.num_ws:
        raise RequestError(
            f"--truncation-cutoff {how.truncation_cutoff} exceeds the {generator.num_ws} styles of this network"
        )
    folder = SeedFolder(out, settings, bits)
    alone = folder.lock(on_wait=click.echo) if is_first_rank() else nullcontext()
    with TemporaryDirectory() as scratch, alone:
        trainer = build_trainer(runtime, Path(scratch), "sample", precision="32-true", callbacks=[SeedWriter(folder)])
        folder.claim(generator, how, trainer.strategy.root_device.type, source)
        missing = folder.missing(seeds)
        if missing:
            task = StyleGAN2Task(settings, sampling=how)
            task.generator_ema.load_state_dict(generator.state_dict())
            mine = (
                missing[trainer.global_rank :: trainer.world_size] or missing[:1]
            )  # Lightning refuses an empty loader
            trainer.predict(task, seeds_loader(mine), return_predictions=False)
        trainer.strategy.barrier()
    if not trainer.is_global_zero:
        return
    wanted = list(dict.fromkeys(seeds))
    there = f", {len(wanted) - len(missing)} of them drawn before" if len(missing) < len(wanted) else ""
    cutoff = "" if how.truncation_cutoff is None else f" in the first {counted(how.truncation_cutoff, 'style')}"
    drawn = f"truncation psi {how.truncation_psi:g}{cutoff}, noise {how.noise_mode}, {bits} bit"
    click.echo(f"{counted(len(wanted), 'image')} in {out}{there} ({drawn})")
    if grid is not None:
        shown = wanted[:_MOST_IN_GRID]
        images.write_image(grid, sample_grid([images.read_image(folder.path(seed)) for seed in shown]))
        click.echo(f"grid of {counted(len(shown), 'image')} in {grid}")
