"""`segkit gan evaluate`: quality, variety and copying of a GAN, measured against its training photographs."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from segkit.cli.gan_options import gan_devices_option, seed_option, truncation_psi_option, weights_option
from segkit.cli.options import PATH, folder_option, json_option
from segkit.cli.seeds import check_last_seed

if TYPE_CHECKING:
    from pipelines.fidelity.assessment import Assessment
    from segkit.core.arrays import Pixels

NUM_PAIRS = 12
"""Generated images shown beside their nearest photograph."""


@click.command()
@weights_option
@click.option(
    "--data",
    metavar="NAME:DIR",
    help="The photographs to measure against, which should be its training images: the training part of a data set, as "
    "in drive:/data/DRIVE, or the train split of a data stage's folder. By default those in the GAN's own record; for "
    "others a note is printed.",
)
@click.option("--images", type=PATH, help="Instead of --data: any folder of photographs.")
@click.option(
    "--features",
    type=PATH,
    required=True,
    help="The feature network: a teacher's folder, or a TorchScript file such as inception-2015-12-05.pt, which is "
    "called as module(uint8 images (n, 3, r, r), return_features=True). Loading such a file runs code of whoever made "
    "it: name only one that you trust. Nothing is ever downloaded.",
)
@click.option(
    "--num-images", type=click.IntRange(min=2), default=1000, show_default=True, help="Number of images to draw."
)
@truncation_psi_option(1.0)
@seed_option("Seed of the first drawn image; the others follow it.")
@click.option(
    "-k",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Neighbour whose distance is the radius in precision and recall.",
)
@gan_devices_option
@click.option(
    "--max-copy-share",
    type=click.FloatRange(0, 1),
    help="Exit with code 1 if a larger share of the drawn images are copies of photographs, as in 0.1.",
)
@click.option("--snapshots", is_flag=True, help="Measure each snapshot of its training too.")
@json_option("every number")
@folder_option(
    "Folder for the numbers, the nearest pairs and, with --snapshots, the curves; replaces an earlier evaluation's "
    "files there."
)
def evaluate(
    weights: Path,
    data: str | None,
    images: Path | None,
    features: Path,
    num_images: int,
    truncation_psi: float,
    seed: int,
    k: int,
    devices: int | str,
    max_copy_share: float | None,
    snapshots: bool,
    json_path: Path | None,
    out: Path | None,
) -> None:
    """Measure quality, variety and copying against the training photographs of a GAN.

    KID with its interval, FID (biased on so few images), precision and recall, the share of copies and, with a teacher,
    vessel statistics. Held-out photographs, if there are any, are measured like generated images: a perfect GAN would
    reach their numbers.
    """
    from gan.drawing.sampling import read_generator
    from gan.training.snapshots import find_snapshots
    from pipelines.execution.process import is_first_rank
    from pipelines.fidelity.assess import Evaluation, check_copies, generated_set
    from pipelines.fidelity.files import SHEET, nearest_sheet
    from pipelines.fidelity.photographs import find
    from segkit.core.config import validate
    from segkit.tasks.settings import RuntimeSettings

    runtime = validate(RuntimeSettings, {"devices": devices}, "segkit gan evaluate")
    check_last_seed(seed, num_images)
    gan, generator = read_generator(weights)
    folders = find_snapshots(weights, gan) if snapshots else {}
    photographs = find(data, images, weights)
    if is_first_rank() and photographs.note:
        click.echo(f"note: {photographs.note}", err=True)  # before minutes of measuring
    sets = [generated_set(seed, num_images, truncation_psi)]
    with TemporaryDirectory() as scratch:  # Lightning writes logs there under DDP
        evaluation = Evaluation(photographs, features, gan, runtime, Path(scratch), "evaluate", k)
        assessment = evaluation.assess(generator, sets)
        curve = {kimg: evaluation.assess(read_generator(path)[1], sets, path.name) for kimg, path in folders.items()}
    if is_first_rank():
        _print(weights, assessment, curve, json_path)
        if out is not None:
            squares = evaluation.squares(generator, sets)
            _write(out, assessment, curve, nearest_sheet(assessment, NUM_PAIRS, squares, evaluation.copies))
        check_copies(assessment, max_copy_share, f"see {out / SHEET}" if out else "--out DIR shows them")


def _print(weights: Path, assessment: "Assessment", curve: "dict[float, Assessment]", json_path: Path | None) -> None:
    """Print the tables and write the JSON file."""
    from pipelines.fidelity import text
    from pipelines.fidelity.files import as_json
    from segkit.core.files import write_json

    click.echo(f"{weights}\n\n{text.whole_text(assessment)}")
    numbers = {"weights": weights.resolve().name, **as_json(assessment)}
    if curve:
        click.echo(f"\n{text.as_text(text.snapshots_table(curve))}")
        numbers["snapshots"] = [{"kimg": kimg, **as_json(snapshot)} for kimg, snapshot in curve.items()]
    if json_path is not None:
        write_json(json_path, numbers)


def _write(out: Path, assessment: "Assessment", curve: "dict[float, Assessment]", sheet: "Pixels") -> None:
    """Replace the files of an earlier evaluation."""
    from pipelines.fidelity import files

    files.clear(out)
    files.write(out, assessment, sheet)
    if curve:
        files.write_snapshots(out, curve)
    click.echo(f"\nnumbers and pictures in {out}")
