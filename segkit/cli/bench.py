"""`segkit bench`: speed of a segmenter, of a GAN, of everything on a GPU; and a segmenter on degraded images."""

from collections.abc import Mapping
from pathlib import Path

import click
from click.core import ParameterSource

from segkit.cli.lazy import lazy_group
from segkit.cli.options import json_option

COMMANDS: Mapping[str, tuple[str, str]] = {
    "gan": ("segkit.cli.bench_gan:gan", "Time the phases of a GAN's training beside the straightforward path."),
    "gpu": ("segkit.cli.bench_gpu:gpu", "Run tests, timings and trainings on a CUDA device; one JSON file."),
    "robustness": ("segkit.cli.bench_robustness:robustness", "Score a model on degraded images: scale, blur, noise."),
}


@click.group(cls=lazy_group(COMMANDS), invoke_without_command=True)
@click.option("--model", "name", default="sa-unet", show_default=True, help="The network; `segkit models` lists them.")
@click.option(
    "--size", type=click.IntRange(16), default=512, show_default=True, help="Side of the square image, pixels."
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Images per step.")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["32-true", "bf16-mixed", "16-mixed"]),
    multiple=True,
    default=("32-true", "bf16-mixed"),
    show_default=True,
    help="Repeatable; the others are compared with the first.",
)
@click.option("--repeats", type=click.IntRange(3), default=7, show_default=True, help="Timed steps of each kind.")
@json_option("the figures")
@click.pass_context
def bench(
    ctx: click.Context,
    name: str,
    size: int,
    batch: int,
    precisions: tuple[str, ...],
    repeats: int,
    json_path: Path | None,
) -> None:
    """Time training and inference of a segmenter, the precisions in turn, so that a noisy machine treats them alike."""
    if ctx.invoked_subcommand is not None:
        given = [key for key in ctx.params if ctx.get_parameter_source(key) == ParameterSource.COMMANDLINE]
        if given:
            raise click.UsageError(f"options of {ctx.invoked_subcommand!r} come after its name", ctx)
        return
    from segkit.core.files import write_json
    from segkit.models.settings import default_settings

    settings = default_settings(name)

    from segkit.tasks.benchmark import time_network

    result = time_network(settings, size, batch, precisions, repeats)
    click.echo(f"{name}, {size}x{size}, batch {batch}; {result['machine']}")
    for row in result["rows"]:
        click.echo(
            f"{row['mode']:<9} {row['precision']:<10} {row['images_per_second']:8.2f} images/s"
            f" (quartiles {row['low']:.2f} to {row['high']:.2f})  {row['ratio']:.2f} x {precisions[0]}"
        )
    if json_path is not None:
        write_json(json_path, result)
