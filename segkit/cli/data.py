"""`segkit data`: draw a phantom data set, check one on disk."""

from pathlib import Path

import click


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
    from rich.progress import Progress

    from segkit.core.errors import RequestError
    from segkit.data.phantom import write_dataset

    with Progress(transient=True) as bar:
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
    click.echo(f"{num_train} training and {num_test} test phantoms of {width}x{height} in {out}; use as drive:{out}")


@data.command()
@click.argument("dataset", metavar="NAME:DIR")
def check(dataset: str) -> None:
    """Open every file of a data set; print sizes, shares and digests, or what is wrong."""
    from segkit.core.files import sha256_file
    from segkit.data import readers

    found = readers.open_dataset(dataset)
    reports = readers.check(found)
    for item, seen in zip(found.items, reports, strict=True):
        vessels = "no labels" if seen.vessel_share is None else f"vessels {seen.vessel_share:6.2%} of fov"
        fov = "no fov mask" if seen.fov_share is None else f"fov {seen.fov_share:6.2%}"
        size = f"{seen.width}x{seen.height}"
        click.echo(f"{seen.name:<16} {seen.part:<9} {size}  {vessels}  {fov}  {sha256_file(item.image)[:12]}")
    labelled = sum(seen.vessel_share is not None for seen in reports)
    click.echo(f"{found.name}: {len(reports)} images, {labelled} labelled, all files whole; digest {found.digest}")
