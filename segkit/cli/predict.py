"""`segkit predict`: a trained model on the user's own images."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from segkit.core.manifest import Row


@click.command()
@click.option(
    "--weights", type=click.Path(path_type=Path), required=True, help="A model's folder: teacher, student, ensemble."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for probs/ and binary/.")
@click.option(
    "--tta", type=click.Choice(["none", "flips", "d4"]), default="none", show_default=True, help="Average over views."
)
@click.option("--tile", type=int, help="Tile side for images too large for memory; whole images by default.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Probability from which a pixel is vessel; the model's own by default.",
)
@click.option("--devices", default="1", show_default=True, help="Processes or GPUs, or `auto`.")
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="IMAGE|DIR...")
def predict(
    weights: Path, out: Path, tta: str, tile: int | None, threshold: float | None, devices: str, paths: tuple[Path, ...]
) -> None:
    """Write a 16-bit probability PNG and a binary PNG for each image, at the image's own size."""
    from segkit.core import images
    from segkit.core.config import validate
    from segkit.core.wording import counted
    from segkit.tasks.ensemble import EnsembleTask
    from segkit.tasks.prediction import ProbsWriter, image_loader
    from segkit.tasks.settings import InferenceSettings, RuntimeSettings
    from segkit.tasks.trainer import build_trainer, quiet
    from segkit.tasks.weights import load_predictor

    quiet()
    inference = validate(InferenceSettings, {"tta": tta, "tile": tile}, "segkit predict")
    count: int | str = int(devices) if devices.isdigit() else devices
    runtime = validate(RuntimeSettings, {"devices": count}, "segkit predict")
    rows = _rows(paths)
    predictor = load_predictor(weights)
    with TemporaryDirectory() as scratch:  # Lightning leaves a folder of logs under DDP
        trainer = build_trainer(
            runtime, Path(scratch), "predict", precision="32-true", callbacks=[ProbsWriter(out / "probs")]
        )
        loader = image_loader(rows, trainer.global_rank, trainer.world_size)
        trainer.predict(EnsembleTask(predictor, inference), loader, return_predictions=False)
        trainer.strategy.barrier()
    cut = predictor.threshold if threshold is None else threshold
    if trainer.is_global_zero:
        for row in rows:
            images.write_mask(
                out / "binary" / f"{row.name}.png", images.read_probs(out / "probs" / f"{row.name}.png") >= cut
            )
        click.echo(
            f"{counted(len(rows), 'image')}: probabilities in {out / 'probs'}, "
            f"vessels (threshold {cut:.3f}) in {out / 'binary'}"
        )


def _rows(paths: tuple[Path, ...]) -> "list[Row]":
    from segkit.core import images
    from segkit.core.errors import RequestError
    from segkit.core.manifest import Row
    from segkit.data.readers import image_files

    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise RequestError(f"{path} does not exist; give images or folders of images")
        listed = image_files(path) if path.is_dir() else [path]
        if not listed:
            raise RequestError(f"{path} holds no image (.png, .tif, .jpg, .gif, .ppm)")
        found += listed
    for path in found:
        images.read_size(path)  # a file that is no image is told before the first one is predicted
    names = [path.stem for path in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RequestError(f"two images are called {twice[0]!r}; their results would overwrite each other")
    return [Row(name, "test", path) for name, path in zip(names, found, strict=True)]
