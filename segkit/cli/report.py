"""`segkit report`: where a run's HTML report lies."""

import shutil
from pathlib import Path

import click

from segkit.core.errors import RequestError
from segkit.core.outputs import FINISHED


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Copy the one file here.")
def report(run: Path, out: Path | None) -> None:
    """Print the path of the report in RUN: a runs folder (its newest report) or a report stage's folder."""
    pages = [run / "report.html"] if (run / "report.html").exists() else sorted(run.glob("report-*/report.html"))
    pages = [page for page in pages if (page.parent / FINISHED).exists()]
    if not pages:
        raise RequestError(f"{run} holds no finished report; `segkit pipeline run` makes one")
    newest = max(pages, key=lambda page: page.stat().st_mtime)
    if out is not None:
        shutil.copyfile(newest, out)
    click.echo(str(out or newest))
