"""`segkit predict`: a trained model on the user's own images."""

from functools import partial
from pathlib import Path

import click

from segkit.cli.options import PATH, devices_option, folder_option, model_option, tta_option


@click.command()
@model_option("network", "A shipped model, a model's folder or an ONNX file", default="vessels", show_default=True)
@folder_option("Folder for probs/, binary/ and predictions.json.", default=Path("predictions"), show_default=True)
@click.option("--recursive", is_flag=True, help="Also predict images in sub-folders; --out gets the same sub-folders.")
@click.option("--data", metavar="NAME:DIR", help="Predict a data set with its fields of view, as in drive:/data/DRIVE.")
@click.option(
    "--split", type=click.Choice(["training", "test", "all"]), help="With --data: which part; all by default."
)
@tta_option("Average over 1, 4 (flips) or 8 (flips and quarter turns) views; the model's own choice by default.")
@click.option(
    "--tile",
    type=int,
    help="Tile side, rounded up to what the network takes. By default only images above 2.5 million pixels are tiled.",
)
@click.option(
    "--scale",
    default="auto",
    show_default=True,
    metavar="FACTOR",
    help="Factor on each image's size before it is predicted; by default from the field of view, for other cameras.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Probability from which a pixel is vessel; the model's own by default.",
)
@click.option("--overlay", is_flag=True, help="Also draw each prediction onto its image.")
@click.option(
    "--vessel-table",
    is_flag=True,
    help="Also write vessels.csv: density, calibre, length, branch points, tortuosity (docs/own-data.md).",
)
@devices_option("Processes or GPUs, or `auto`.")
@click.argument("paths", type=PATH, nargs=-1, metavar="[IMAGE|DIR]...")
def predict(
    weights: Path,
    out: Path,
    recursive: bool,
    data: str | None,
    split: str | None,
    tta: str | None,
    tile: int | None,
    scale: str,
    threshold: float | None,
    overlay: bool,
    vessel_table: bool,
    devices: int | str,
    paths: tuple[Path, ...],
) -> None:
    """Write a 16-bit probability PNG and a binary PNG for each image, at the image's own size.

    predictions.json records the model, the settings and every image. Images whose maps are there already are kept, so
    that a killed command goes on where it stopped; a folder with maps of another model, threshold, test-time
    augmentation or tile is refused. An image that cannot be read is reported, and the others are predicted; the exit
    code is then 1.
    """
    from pipelines.execution.process import is_first_rank
    from segkit.core.config import validate
    from segkit.data.user_images import dataset_rows, file_rows
    from segkit.tasks.settings import InferenceSettings, RuntimeSettings

    # Wrong requests are refused before torch is imported, which takes seconds.
    if bool(paths) == (data is not None):
        raise click.UsageError("give either images and folders, or --data NAME:DIR")
    if (data is None and split is not None) or (data is not None and recursive):
        raise click.UsageError("--split goes with --data, --recursive with folders")
    inference = validate(InferenceSettings, {"tile": tile, "scale": scale}, "segkit predict")
    runtime = validate(RuntimeSettings, {"devices": devices}, "segkit predict")
    rows = file_rows(paths, recursive, excluded=out) if data is None else dataset_rows(data, split or "all")

    from segkit.tasks.prediction_run import predict_folder
    from segkit.tasks.weights import read_card

    inference = inference.model_copy(update={"tta": tta or read_card(weights).tta})
    predict_folder(
        weights,
        rows,
        out,
        inference,
        runtime,
        threshold,
        overlays=overlay,
        vessel_table=vessel_table,
        first_rank=is_first_rank(),
        log=click.echo,
        warn=partial(click.echo, err=True),
    )
