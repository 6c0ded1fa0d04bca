"""`segkit data`: draw a phantom data set, check one on disk."""

from pathlib import Path
from typing import Literal

import click

from segkit.cli.options import PATH, file_option, group_pattern_option

LAYOUTS = ("chase", "csv", "drive", "drive-article", "folder", "histology", "hrf", "isbi2012", "stare")
"""Names of the readers, each of which reads phantoms of its layout."""


@click.group()
def data() -> None:
    """Draw a phantom data set; check one on disk."""


@data.command()
@click.option("--out", type=PATH, required=True, help="Folder to draw into.")
@click.option("--layout", type=click.Choice(LAYOUTS), default="drive", show_default=True, help="Reader to draw for.")
@click.option("--train", "num_train", type=click.IntRange(1), default=20, show_default=True)
@click.option("--test", "num_test", type=click.IntRange(0), help="By default 20, or 0 where there is no test part.")
@click.option("--height", type=click.IntRange(48), default=584, show_default=True, help="Pixels.")
@click.option("--width", type=click.IntRange(48), default=565, show_default=True, help="Pixels.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--classes",
    type=click.Choice(["binary", "multiclass"]),
    default="binary",
    help="folder and csv: vessels, or background, vessel and optic disc.",
)
@click.option("--test-labels/--no-test-labels", default=True, show_default=True, help="drive: label the test part.")
def phantom(
    out: Path,
    layout: str,
    num_train: int,
    num_test: int | None,
    height: int,
    width: int,
    seed: int,
    classes: Literal["binary", "multiclass"],
    test_labels: bool,
) -> None:
    """Draw images with exactly known labels, in the layout of a reader: fundi, sections or stained patches."""
    from rich.console import Console
    from rich.progress import Progress

    from segkit.core.errors import RequestError
    from segkit.data import phantom_layouts

    num_test = phantom_layouts.default_test(layout) if num_test is None else num_test
    request = phantom_layouts.Request(
        layout, num_train, num_test, height, width, seed, classes, test_labels or not num_test
    )
    before = phantom_layouts.drawn(out)
    if before is not None and before != request:
        raise RequestError(f"{out} holds other phantoms; give another --out, or delete it")
    if before is None:
        console = Console(stderr=True)
        with Progress(transient=True, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("drawing", total=num_train + num_test)
            phantom_layouts.write(out, request, lambda done: bar.update(task, completed=done))
    drawn = f"{num_train} training and {num_test} test phantoms of {width}x{height} in {out}"
    there = "" if before is None else "already drawn: "
    click.echo(f"{there}{drawn}; use as {phantom_layouts.name_of(out, layout)}")


@data.command()
@click.argument("dataset", metavar="NAME:DIR")
@group_pattern_option
@file_option("--figure", "Write a PNG of all images with their labels drawn in.", ".png")
def check(dataset: str, group_pattern: str | None, figure_path: Path | None) -> None:
    """Open every file of a data set; print sizes, shares, patients and digests, and every problem.

    Exit code 2 if there is an error; warnings are only printed.
    """
    from segkit.core import images
    from segkit.core.errors import DatasetError
    from segkit.core.wording import counted
    from segkit.data import check_report, readers
    from segkit.data.contact_sheet import contact_sheet

    opened = readers.read(dataset, group_pattern)
    checked = readers.check(opened)
    for line in (*check_report.image_lines(opened, checked), *check_report.summary_lines(opened, checked)):
        click.echo(line)
    for finding in checked.findings:
        click.echo(f"{finding.severity}: {finding.message}", err=True)
    if figure_path is not None:
        images.write_image(figure_path, contact_sheet(opened.rows, opened.classes))
        click.echo(f"figure: {figure_path}")
    num_errors = sum(finding.severity == "error" for finding in checked.findings)
    if num_errors:
        click.echo(check_report.counts(opened))
        raise DatasetError(f"{dataset} has {counted(num_errors, 'problem')}, listed above; correct them first")
    click.echo(f"{check_report.counts(opened)}, all files readable; digest {opened.digest}")
