"""`segkit bench gan`: seconds per thousand images of a GAN's training, phase by phase."""

import os
from pathlib import Path
from typing import Any, Literal, cast, get_args

import click

from gan.settings import GanSettings, PresetName
from segkit.cli.options import json_option

_DEFAULTS = {"resolution": 256, "batch_size": 4, "channel_base": 16384}


@click.command()
@click.option(
    "--preset",
    type=click.Choice(get_args(PresetName)),
    help="Networks and batch of a preset, which the options below override; without it 256x256, batch 4, channel base "
    "16384.",
)
@click.option("--resolution", type=int, help="Edge of the images, a power of two.")
@click.option("--batch", "batch_size", type=click.IntRange(1), help="Images per iteration.")
@click.option("--channel-base", type=int, help="Feature maps at resolution r: channel base / r.")
@click.option("--channel-max", type=int, help="Most feature maps in any layer.")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    multiple=True,
    default=("fp32", "bf16"),
    show_default=True,
    help="May be given several times.",
)
@click.option(
    "--low-precision-resolutions",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="In bf16 and fp16: how many of the highest resolutions.",
)
@click.option("--augment-p", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Of each transform.")
@click.option(
    "--reference-memory",
    type=click.Choice(["default", "kept"]),
    default="default",
    show_default=True,
    help="On CPUs: the straightforward path as PyTorch runs it, or keeping freed memory as the others do.",
)
@click.option(
    "--compile", "with_compiled", is_flag=True, help="Also measure with gan.torch_compile; compiling takes minutes."
)
@click.option("--profile", "with_profile", is_flag=True, help="Also say what the time is spent on.")
@click.option("--repeats", type=click.IntRange(3), default=7, show_default=True, help="Rounds, after one to warm up.")
@json_option("the figures")
def gan(
    preset: str | None,
    resolution: int | None,
    batch_size: int | None,
    channel_base: int | None,
    channel_max: int | None,
    precisions: tuple[str, ...],
    low_precision_resolutions: int,
    augment_p: float,
    reference_memory: Literal["default", "kept"],
    with_compiled: bool,
    with_profile: bool,
    repeats: int,
    json_path: Path | None,
) -> None:
    """Time the phases of a GAN's training beside the straightforward path.

    That is fp32 with zero-inserting resampling, weights of its own for each image, and bias, activation and clamp one
    by one. On CPUs kinds and phases take turns, so that a noisy machine treats them alike. On GPUs fp32 is TF32, as in
    training, but for the straightforward path. A whole iteration counts the regularisation phases by how seldom they
    take place. GFLOP/s are of the arithmetic that the networks need, and beside them their share of what one large
    convolution reaches in that format.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's remarks to itself
    from gan.bench.measure import measure
    from segkit.cli.progress import tracked
    from segkit.core.config import validate
    from segkit.core.files import write_json

    given = {
        "preset": preset,
        "resolution": resolution,
        "batch_size": batch_size,
        "channel_base": channel_base,
        "channel_max": channel_max,
    }
    raw: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if preset is None:
        raw = _DEFAULTS | raw
    if batch_size is not None and batch_size % 2:
        raw["pl_batch_shrink"] = 1  # an odd batch cannot be halved
    raw |= {"augment": "fixed" if augment_p else "none", "augment_p": augment_p, "num_low_precision_resolutions": 0}
    settings = validate(GanSettings, raw, "the options")
    result = measure(
        settings,
        list(dict.fromkeys(precisions)),
        repeats,
        num_low_precision_resolutions=min(low_precision_resolutions, settings.resolution.bit_length() - 2),
        reference_memory=reference_memory,
        with_compiled=with_compiled,
        with_profile=with_profile,
        watch=lambda rounds: tracked(rounds, repeats, "bench gan", "round"),
    )
    if json_path is not None:
        write_json(json_path, result)
    _show(result)


def _show(result: dict[str, Any]) -> None:
    edge, base, most = (result[key] for key in ("resolution", "channel_base", "channel_max"))
    networks = f"{edge}x{edge}, batch {result['batch']}, channels {base} / r up to {most}"
    click.echo(f"{networks}, augmentation p {result['augment_p']:g}; {result['machine']}")
    click.echo(f"{'':<24} {'s/kimg':>9} {'(quartiles)':<22} {'x reference':>11} {'(quartiles)':<16} {'GFLOP/s':>9}")
    for row in result["rows"]:
        spread = f"({row['low']:.2f} to {row['high']:.2f})"
        ratios = f"({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
        share = row["gflops"] / result["convolution_gflops"][row["kind"]]
        rate = f"{row['gflops']:9.0f} {share:4.0%}" if row["gflop_per_image"] else ""
        line = f"{row['kind']:<14} {row['phase']:<9} {row['s_per_kimg']:9.2f} {spread:<22} {row['ratio']:11.2f} "
        click.echo(f"{line}{ratios:<16} {rate}".rstrip())
    for kind, megabytes in result["memory_mb"].items():
        amount = "" if megabytes is None else f"{megabytes:9.0f} MB of memory at most, "
        click.echo(f"{kind:<24} {amount}{result['convolution_gflops'][kind]:.0f} GFLOP/s in one large convolution")
    for kind, parts in cast(dict[str, dict[str, float]], result["profile"]).items():
        total = sum(parts.values())
        click.echo(f"{kind}: where an average iteration's {total:.2f} s go")
        for part, spent in parts.items():
            click.echo(f"  {spent / total if total else 0:5.1%}  {part}")  # a profiler may be forbidden to see a GPU
