"""`segkit data`: draw a phantom data set, check one on disk."""

from pathlib import Path

import click

from segkit.cli.group_pattern import group_pattern_option


@click.group()
def data() -> None:
    """Draw a phantom data set; check one on disk."""


@data.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to draw into.")
@click.option("--train", "num_train", type=click.IntRange(1), default=20, show_default=True)
@click.option("--test", "num_test", type=click.IntRange(0), default=20, show_default=True)
@click.option("--height", type=click.IntRange(48), default=584, show_default=True, help="Pixels.")
@click.option("--width", type=click.IntRange(48), default=565, show_default=True, help="Pixels.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--test-labels/--no-test-labels", default=True, show_default=True, help="Vessel maps for the test part.")
def phantom(out: Path, num_train: int, num_test: int, height: int, width: int, seed: int, test_labels: bool) -> None:
    """Draw fundi with exactly known vessels, in DRIVE's folder form."""
    from rich.console import Console
    from rich.progress import Progress

    from segkit.core.errors import RequestError
    from segkit.data.phantom import write_dataset

    stated = _stated(out)
    if stated is not None and stated != (num_train, num_test, height, width, seed, test_labels and num_test > 0):
        raise RequestError(f"{out} holds other phantoms; give another --out, or delete it")
    told = f"{num_train} training and {num_test} test phantoms of {width}x{height} in {out}; use as drive:{out}"
    if stated is not None:
        click.echo(f"there already: {told}")
        return
    console = Console(stderr=True)
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=num_train + num_test)
        try:
            write_dataset(
                out,
                num_train,
                num_test,
                height,
                width,
                seed,
                lambda done, _: bar.update(task, completed=done),
                test_labels,
            )
        except FileExistsError as error:
            raise RequestError(str(error)) from error
    click.echo(told)


def _stated(root: Path) -> tuple[int | bool, ...] | None:
    """What the phantoms in `root` were drawn with, if there are any: numbers, size, seed, labels of the test part."""
    from segkit.core.files import read_json
    from segkit.data.drive import MARKER_NAME

    marker = root / MARKER_NAME
    if not marker.is_file():
        return None
    stated = read_json(marker)
    numbers = tuple(int(stated.get(key, 0)) for key in ("training", "test", "height", "width", "seed"))
    return (*numbers, (root / "test" / "1st_manual").is_dir())


@data.command()
@click.argument("dataset", metavar="NAME:DIR")
@group_pattern_option
def check(dataset: str, group_pattern: str | None) -> None:
    """Open every file of a data set; print sizes, shares, patients and digests, and everything that is wrong.

    Exit code 2 if there is an error; warnings are only printed.
    """
    from segkit.core.errors import DatasetError
    from segkit.core.files import sha256_file
    from segkit.core.wording import counted, counted_images
    from segkit.data import readers

    opened = readers.read(dataset, group_pattern)
    checked = readers.check(opened)
    items = {item.name: item for item in opened.items}
    grouped = opened.num_groups < len(items)
    for seen in checked.reports:
        item = items[seen.name]
        whole = "image" if seen.fov_share is None else "fov"
        vessels = "no labels" if seen.vessel_share is None else f"vessels {seen.vessel_share:6.2%} of {whole}"
        fov = "no fov mask" if seen.fov_share is None else f"fov {seen.fov_share:6.2%}"
        size = f"{seen.width}x{seen.height}"
        patient = f"  patient {item.group}" if grouped else ""
        click.echo(f"{seen.name:<16} {seen.part:<9} {size}  {vessels}  {fov}  {sha256_file(item.image)[:12]}{patient}")
    for finding in checked.findings:
        click.echo(f"{finding.severity}: {finding.message}", err=True)
    labelled = sum(item.vessels is not None for item in opened.items)
    num_errors = sum(finding.severity == "error" for finding in checked.findings)
    counts = f"{opened.name}: {counted_images(len(items), opened.num_groups)}, {labelled} labelled"
    if num_errors:
        click.echo(counts)
        raise DatasetError(f"{dataset} has {counted(num_errors, 'problem')}, listed above; it cannot be used like this")
    click.echo(f"{counts}, all files whole; digest {opened.digest}")
