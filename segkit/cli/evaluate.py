"""`segkit evaluate`: score predictions on disk against a data set's labels."""

from pathlib import Path

import click

from segkit.cli.group_pattern import group_pattern_option
from segkit.cli.json_option import json_option


@click.command()
@click.option(
    "--predictions", type=click.Path(path_type=Path), required=True, help="Folder of maps named like the images."
)
@click.option("--data", metavar="NAME:DIR", required=True, help="The data set, as in drive:/data/DRIVE.")
@click.option(
    "--split", type=click.Choice(["training", "test", "all"]), default="all", show_default=True, help="Which part."
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Not to be tuned on these images."
)
@group_pattern_option
@json_option("every number")
def evaluate(
    predictions: Path, data: str, split: str, threshold: float, group_pattern: str | None, json_path: Path | None
) -> None:
    """Print the tables, test and training images apart; probability maps (8 or 16 bit) and binary maps both do.

    A map is found by its image's name in the data set, as 21_training.png, or by the image's number, as 21.png.
    """
    from segkit.core import images
    from segkit.core.errors import DatasetError, RequestError
    from segkit.core.files import write_json
    from segkit.core.manifest import Row
    from segkit.data.fov import read_fov
    from segkit.data.readers import image_files, open_dataset
    from segkit.metrics.score import ScoredImage, measure, score_images, to_json
    from segkit.metrics.tables import render, tabulate

    dataset = open_dataset(data, group_pattern)
    if not predictions.is_dir():
        raise RequestError(f"{predictions} is no folder; give the one that holds the maps")
    items = [item for item in dataset.items if split in {"all", item.part}]
    labelled = [item for item in items if item.vessels is not None]
    if not labelled:
        raise RequestError(f"{data} has no labels in its {split} part; nothing can be scored")
    maps = {path.stem: path for path in image_files(predictions)}
    found = {item.name: maps[key] for item in labelled for key in (_number(item.name), item.name) if key in maps}
    if not found:
        raise RequestError(
            f"{predictions} holds no map of a labelled image; expected names such as {labelled[0].name}.png"
        )
    missing = [item.name for item in labelled if item.name not in found]
    if missing:
        click.echo(f"not predicted and left out: {', '.join(missing)}", err=True)
    scored = []
    for item in labelled:
        if item.name in found and item.vessels is not None:
            fov = read_fov(Row(item.name, "test", item.image, fov=item.fov))
            levels, vessels = images.read_levels(found[item.name]), images.read_mask(item.vessels)
            if levels.shape != vessels.shape:
                sizes = [f"{shape[1]}x{shape[0]}" for shape in (levels.shape, vessels.shape)]
                raise DatasetError(
                    f"{found[item.name]} is {sizes[0]} pixels, the labels {sizes[1]}; give maps of that size"
                )
            scored.append(ScoredImage(item.name, levels, vessels, fov, item.group))
    source = "fixed-0.5" if threshold == 0.5 else "given"
    part_of = {item.name: item.part for item in labelled}
    measured = {}
    for part in ("test", "training"):
        images_of_part = [image for image in scored if part_of[image.name] == part]
        if not images_of_part:
            continue
        measured[part] = measure(score_images(images_of_part, [threshold]), threshold, source)
        click.echo(f"== {part} images {', '.join(image.name for image in images_of_part)}")
        if part == "training":
            click.echo("a model that was trained on some of these, or chosen with them, scores too well on them")
        for table in tabulate({predictions.name: measured[part]}):
            click.echo(render(table) + "\n")
    if json_path is not None:
        write_json(
            json_path, [{"part": part, **to_json(number)} for part, numbers in measured.items() for number in numbers]
        )


def _number(name: str) -> str:
    """The number an image's name begins with, as 21 of 21_training; the whole name where there is none."""
    digits = name.split("_")[0]
    return digits if digits.isdigit() else name
