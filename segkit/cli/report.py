"""`segkit report`: the path of a run's HTML report."""

import shutil
from datetime import datetime
from pathlib import Path

import click

from segkit.cli.options import PATH
from segkit.core.errors import RequestError
from segkit.core.files import read_json
from segkit.core.outputs import FINISHED


@click.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, help="Copy the one file here.")
def report(run: Path, out: Path | None) -> None:
    """Print the path of the newest report in RUN: a runs folder, a folder of several, or a report stage's folder."""
    if not run.is_dir():
        problem = f"{run} is not a folder" if run.exists() else f"there is no folder {run}"
        raise RequestError(f"{problem}; name a folder of results, as in `runs`")
    pages = [page for page in run.rglob("report.html") if (page.parent / FINISHED).exists()]
    if not pages:
        raise RequestError(f"{run} holds no finished report; `segkit pipeline run` makes one")
    newest = max(pages, key=lambda page: datetime.fromisoformat(read_json(page.parent / FINISHED)["finished"]))
    if out is not None and out.is_dir():
        raise RequestError(f"{out} is a folder; name a file with --out")
    if out is not None:
        shutil.copyfile(newest, out)
    click.echo(str(out or newest))
