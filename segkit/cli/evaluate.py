"""`segkit evaluate`: score predictions on disk against a data set's labels."""

from pathlib import Path

import click

from segkit.cli.options import PATH, file_option, group_pattern_option, json_option, split_option


@click.command()
@click.option(
    "--predictions",
    type=PATH,
    required=True,
    help="What `segkit predict` wrote, or any folder of maps named like the images.",
)
@click.option("--data", metavar="NAME:DIR", required=True, help="The data set, as in drive:/data/DRIVE.")
@split_option
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Probability from which a pixel is vessel; by default that of predictions.json, else 0.5. "
    "Do not tune it on these images.",
)
@click.option(
    "--metrics",
    metavar="NAME,...",
    default="",
    help="Further metrics, some of them slow: v_rand, v_info, isbi_v_rand, isbi_v_info, hd95, assd.",
)
@file_option("--per-image", "Write every number of each image here, as CSV.", ".csv")
@group_pattern_option
@json_option("every number")
def evaluate(
    predictions: Path,
    data: str,
    split: str,
    threshold: float | None,
    metrics: str,
    per_image_path: Path | None,
    group_pattern: str | None,
    json_path: Path | None,
) -> None:
    """Print tables of scores, test and training images apart. Maps are probabilities (8 or 16 bit) or binary.

    A map is found by its image's name in the data set, as 21_training.png, or by the image's number, as 21.png.
    """
    from segkit.core.files import write_json, write_text
    from segkit.tasks.evaluation import evaluate as evaluate_maps

    further = [name.strip() for name in metrics.split(",") if name.strip()]
    evaluation = evaluate_maps(predictions, data, split, threshold, group_pattern, further)
    if evaluation.missing:
        click.echo(f"not predicted and left out: {', '.join(evaluation.missing)}", err=True)
    if evaluation.unrecorded:
        names = ", ".join(evaluation.unrecorded)
        click.echo(f"warning: predictions.json has no entry for these files: {names}", err=True)
    for line in evaluation.lines():
        click.echo(line)
    if per_image_path is not None:
        write_text(per_image_path, evaluation.image_csv())
    if json_path is not None:
        write_json(json_path, evaluation.to_json())
