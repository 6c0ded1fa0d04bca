"""`segkit gan evaluate`: how good a GAN is, measured against the photographs it learnt from."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from segkit.cli.gan_options import devices_option, truncation_psi_option, weights_option
from segkit.cli.json_option import json_option
from segkit.cli.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from gan.settings import GanSettings
    from pipelines.fidelity.assessment import Assessment

NUM_PAIRS = 12
"""Drawn images shown beside their nearest photograph."""


@click.command()
@weights_option
@click.option(
    "--data",
    metavar="NAME:DIR",
    help="The photographs to measure against, those it learnt from: the training part of a data set, as in "
    "drive:/data/DRIVE; or the folder of a data stage, of which the train split counts. By default what the GAN's own "
    "record names; others are measured against with a note.",
)
@click.option("--images", type=click.Path(path_type=Path), help="Instead of --data: any folder of photographs.")
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    required=True,
    help="What sees the images: a teacher's folder; or a TorchScript file such as inception-2015-12-05.pt, called as "
    "module(uint8 images (n, 3, r, r), return_features=True). Loading such a file runs code of whoever made it: name "
    "only one that you trust. Nothing is ever downloaded.",
)
@click.option(
    "--num-images", type=click.IntRange(min=2), default=1000, show_default=True, help="How many images to draw."
)
@truncation_psi_option(1.0)
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    default=0,
    show_default=True,
    help="Seed of the first drawn image; the others follow it.",
)
@click.option(
    "-k",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Precision, recall, density and coverage count images within reach of the k-th nearest neighbour.",
)
@devices_option
@click.option(
    "--max-copy-share",
    type=click.FloatRange(0, 1),
    help="End with exit code 1 if a larger share of the drawn images are copies of photographs, as in 0.1. A note "
    "tells where the share passes and the upper end of its interval does not.",
)
@click.option("--snapshots", is_flag=True, help="Measure each snapshot of its training too, to choose one by.")
@json_option("every number")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the numbers, the nearest pairs and, with --snapshots, the curves; replaces an earlier "
    "evaluation's files there.",
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
    devices: str,
    max_copy_share: float | None,
    snapshots: bool,
    json_path: Path | None,
    out: Path | None,
) -> None:
    """Measure quality, variety and copying against the photographs a GAN learnt from.

    KID with its interval, FID (biased on so few images), precision and recall, density and coverage, the share of
    copies and, with a teacher, vessel statistics. Photographs that the GAN never saw, where there are some, are
    measured as if it had drawn them: no GAN can be told from the photographs better than these.
    """
    from gan.sampling import read_generator
    from gan.settings import SamplingSettings
    from pipelines.fidelity import records
    from pipelines.fidelity.assessment import check_copies, with_doubt
    from pipelines.fidelity.evaluation import Evaluation, drawn_set
    from pipelines.fidelity.photographs import find
    from pipelines.worker import is_first_rank
    from segkit.core.config import validate
    from segkit.tasks.settings import RuntimeSettings
    from segkit.tasks.trainer import quiet

    quiet()
    validate(SamplingSettings, {"truncation_psi": truncation_psi}, "segkit gan evaluate")
    runtime = validate(
        RuntimeSettings, {"devices": int(devices) if devices.isdigit() else devices}, "segkit gan evaluate"
    )
    _check(seed, num_images, out)
    gan, generator = read_generator(weights)
    clocks = _snapshots(weights) if snapshots else {}
    photographs = find(data, images, weights)
    if is_first_rank() and photographs.note:
        click.echo(f"note: {photographs.note}", err=True)  # before minutes of measuring
    sets = [drawn_set(seed, num_images, truncation_psi)]
    curve: dict[float, Assessment] = {}
    with TemporaryDirectory() as scratch:  # Lightning leaves a folder of logs under DDP
        evaluation = Evaluation(photographs, features, gan, runtime, Path(scratch), "evaluate", k)
        assessment = with_doubt(evaluation.assess(generator, sets), max_copy_share)
        for kimg, folder in clocks.items():
            found, snapshot = read_generator(folder)
            _check_like(found, gan, folder)
            curve[kimg] = evaluation.assess(snapshot, sets, label=folder.name)
    if not is_first_rank():
        return
    _tell(weights, assessment, curve, json_path)
    if out is not None:
        sheet = evaluation.sheet(assessment, generator, sets, NUM_PAIRS)
        with records.replaced(out):
            records.write(out, assessment)
            records.write_sheet(out, sheet)
            if curve:
                records.write_snapshots(out, list(curve), list(curve.values()))
        click.echo(f"\nnumbers and pictures in {out}")
    for note in assessment.notes:
        if note != photographs.note:  # told before
            click.echo(f"note: {note}", err=True)
    check_copies(assessment, max_copy_share, f"see {out / records.SHEET}" if out else "--out DIR shows them")


def _check(seed: int, num_images: int, out: Path | None) -> None:
    """Refuse what would fail only at the end."""
    from segkit.core.errors import RequestError
    from segkit.core.outputs import check_folder

    if seed + num_images - 1 > LARGEST_SEED:
        raise RequestError(f"--seed {seed} and {num_images} images go beyond the largest seed, {LARGEST_SEED}")
    if out is not None:
        check_folder(out, "--out")


def _snapshots(weights: Path) -> dict[float, Path]:
    """The folders of a training's snapshots by thousands of images seen."""
    from gan.snapshots import SNAPSHOTS
    from gan.weights import SETTINGS_FILE
    from segkit.core.errors import RequestError

    found = {
        float(name[1]): folder
        for folder in sorted((weights / SNAPSHOTS).glob("kimg*"))
        if (name := re.fullmatch(r"kimg([0-9]+(?:\.[0-9]+)?)", folder.name)) and (folder / SETTINGS_FILE).is_file()
    }
    if not found:
        raise RequestError(f"{weights} holds no {SNAPSHOTS}/kimg*; training a GAN leaves them (gan.snapshot_kimg)")
    return found


def _check_like(found: "GanSettings", gan: "GanSettings", folder: Path) -> None:
    """A snapshot is measured by the squares of the GAN it lies in."""
    from segkit.core.errors import RequestError

    for name in ("resolution", "image_channels", "fit"):
        if getattr(found, name) != getattr(gan, name):
            raise RequestError(
                f"{folder} has {name} {getattr(found, name)}, the GAN it lies in {getattr(gan, name)}; remove it"
            )


def _tell(weights: Path, assessment: "Assessment", curve: "dict[float, Assessment]", json_path: Path | None) -> None:
    """Print the tables, and write all numbers where they are asked for."""
    from pipelines.fidelity import words
    from pipelines.fidelity.assessment import as_json
    from segkit.core.files import write_json

    found = {"weights": weights.resolve().name, **as_json(assessment)}
    click.echo(f"{weights}\n\n{words.as_text(found)}")
    if curve:
        snapshots = [as_json(each) for each in curve.values()]
        found["snapshots"] = [{"kimg": kimg, **each} for kimg, each in zip(curve, snapshots, strict=True)]
        click.echo(f"\n{words.render(words.curve_table(list(curve), snapshots))}")
    if json_path is not None:
        write_json(json_path, found)
