"""`segkit data`: draw a phantom data set, check one on disk."""

from pathlib import Path

import click

from segkit.cli.options import group_pattern_option


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
    """Draw a data set of fundi with exactly known vessels, in DRIVE's layout."""
    from rich.console import Console
    from rich.progress import Progress

    from segkit.core.errors import RequestError
    from segkit.data.phantom import write_dataset

    stated = _stated(out)
    if stated is not None and stated != (num_train, num_test, height, width, seed, test_labels and num_test > 0):
        raise RequestError(f"{out} holds other phantoms; give another --out, or delete it")
    summary = f"{num_train} training and {num_test} test phantoms of {width}x{height} in {out}; use as drive:{out}"
    if stated is not None:
        click.echo(f"already drawn: {summary}")
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
    click.echo(summary)


def _stated(root: Path) -> tuple[int | bool, ...] | None:
    """Numbers, size, seed and test labels of the phantoms in `root`, or None."""
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
    """Open every file of a data set; print sizes, shares, patients and digests, and every problem.

    Exit code 2 if there is an error; warnings are only printed.
    """
    from segkit.core.errors import DatasetError
    from segkit.core.files import sha256_file
    from segkit.core.wording import counted, counted_images
    from segkit.data import readers

    opened = readers.read(dataset, group_pattern)
    checked = readers.check(opened)
    rows = {row.name: row for row in opened.rows}
    grouped = opened.num_groups < len(rows)
    for report in checked.reports:
        row = rows[report.name]
        whole = "image" if report.region_share is None else "fov"
        shares = ", ".join(f"{name} {share:6.2%}" for name, share in report.class_shares.items())
        labels = f"{shares} of {whole}" if shares else "no labels"
        fov = "no fov mask" if report.region_share is None else f"fov {report.region_share:6.2%}"
        size = f"{report.width}x{report.height}"
        digest = sha256_file(row.image.path)[:12]
        patient = f"  patient {row.group}" if grouped else ""
        click.echo(f"{report.name:<16} {report.part:<9} {size}  {labels}  {fov}  {digest}{patient}")
    for finding in checked.findings:
        click.echo(f"{finding.severity}: {finding.message}", err=True)
    labelled = sum(row.reference is not None for row in opened.rows)
    num_errors = sum(finding.severity == "error" for finding in checked.findings)
    counts = f"{opened.name}: {counted_images(len(rows), opened.num_groups)}, {labelled} labelled"
    if num_errors:
        click.echo(counts)
        raise DatasetError(f"{dataset} has {counted(num_errors, 'problem')}, listed above; correct them first")
    click.echo(f"{counts}, all files readable; digest {opened.digest}")
