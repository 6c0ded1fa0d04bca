"""`segkit bench gan`: seconds per thousand images of a GAN's training, phase by phase."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import click

from gan.settings import GanSettings, PresetName
from segkit.cli.options import json_option
from segkit.core.config import validate

_DEFAULTS: dict[str, object] = {"resolution": 256, "batch_size": 4, "channel_base": 16384}


@click.command()
@click.option(
    "--preset",
    type=click.Choice(get_args(PresetName)),
    help="Networks and batch of a preset, which the options below override; by default 256x256, batch 4, channel base "
    "16384.",
)
@click.option("--resolution", type=int, help="Edge of the images, a power of two.")
@click.option("--batch", "batch_size", type=click.IntRange(1), help="Images per iteration.")
@click.option("--channel-base", type=int, help="Feature maps at resolution r: channel base / r.")
@click.option("--channel-max", type=int, help="Maximum number of feature maps in a layer.")
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
    help="In bf16 and fp16: number of the highest resolutions.",
)
@click.option(
    "--augment-p", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Chance of each transform."
)
@click.option(
    "--reference-memory",
    type=click.Choice(["default", "kept"]),
    default="default",
    show_default=True,
    help="On CPUs: the reference with PyTorch's default memory, or keeping freed memory as the others do.",
)
@click.option(
    "--compile", "with_compiled", is_flag=True, help="Also measure with gan.torch_compile; compiling takes minutes."
)
@click.option("--profile", "with_profile", is_flag=True, help="Also print the time by operation.")
@click.option("--repeats", type=click.IntRange(3), default=7, show_default=True, help="Rounds, after one to warm up.")
@json_option("the figures")
def gan(
    preset: str | None,
    precisions: tuple[str, ...],
    low_precision_resolutions: int,
    augment_p: float,
    reference_memory: Literal["default", "kept"],
    with_compiled: bool,
    with_profile: bool,
    repeats: int,
    json_path: Path | None,
    **sizes: int | None,
) -> None:
    """Time the phases of a GAN's training beside a straightforward implementation.

    The reference computes in fp32 with zero-inserting resampling, a convolution with own weights for each image, and
    bias, activation and clamp as separate operations. On CPUs configurations and phases take turns, so that other load
    slows all of them alike. On GPUs fp32 is TF32, as in training, except in the reference. A whole iteration counts the
    regularisation phases by their intervals. GFLOP/s are of the arithmetic that the networks need, followed by their
    share of the rate of one large convolution in that format.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences the profiler
    from gan.bench.measure import measure
    from segkit.core.files import write_json
    from segkit.core.progress import tracked

    settings = _settings(preset, augment_p, sizes)
    result = measure(
        settings,
        list(dict.fromkeys(precisions)),
        repeats,
        num_low_precision_resolutions=min(low_precision_resolutions, settings.resolution.bit_length() - 2),
        reference_memory=reference_memory,
        with_compiled=with_compiled,
        with_profile=with_profile,
        track=partial(tracked, total=repeats, label="bench gan", unit="round"),
    )
    if json_path is not None:
        write_json(json_path, asdict(result))
    for line in result.lines():
        click.echo(line)


def _settings(preset: str | None, augment_p: float, sizes: Mapping[str, int | None]) -> GanSettings:
    """The settings of the options that are given, in fp32."""
    base = _DEFAULTS if preset is None else {"preset": preset}
    values: dict[str, object] = base | {key: value for key, value in sizes.items() if value is not None}
    if (sizes["batch_size"] or 0) % 2:
        values["pl_batch_shrink"] = 1  # an odd batch cannot be halved
    values |= {"augment": "fixed" if augment_p else "none", "augment_p": augment_p, "num_low_precision_resolutions": 0}
    return validate(GanSettings, values, "the options")
