"""`segkit bench robustness`: what a model loses on degraded images."""

from pathlib import Path

import click

from segkit.cli.options import (
    file_option,
    group_pattern_option,
    json_option,
    model_option,
    split_option,
    tta_option,
)


@click.command()
@model_option("network", "A shipped model, a model's folder or an ONNX file", default="vessels", show_default=True)
@click.option("--data", metavar="NAME:DIR", required=True, help="The labelled data set, as in drive:/data/DRIVE.")
@split_option
@tta_option("Views to average over; the model's own choice by default.")
@file_option("--csv", "Write the table here too, as CSV.", ".csv")
@group_pattern_option
@json_option("the table")
def robustness(
    weights: Path,
    data: str,
    split: str,
    tta: str | None,
    csv_path: Path | None,
    group_pattern: str | None,
    json_path: Path | None,
) -> None:
    """Dice and AUROC on the labelled images of a data set and on degraded versions of each.

    Scale, blur, noise, uneven light, JPEG and a colour cast, the same for an image in every run. Each difference from
    the clean images has a paired 95 % interval over patients. On the images that a model was trained on, only these
    differences count, and a note says so.
    """
    from segkit.core.files import as_csv, write_json, write_text
    from segkit.tasks.robustness import robustness as measure_robustness

    result = measure_robustness(weights, data, split, tta, group_pattern)
    for line in result.lines():
        click.echo(line)
    if csv_path is not None:
        write_text(csv_path, as_csv(result.to_json()["rows"]))
    if json_path is not None:
        write_json(json_path, result.to_json())
