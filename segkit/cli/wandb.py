"""`segkit wandb`: send offline runs, and make a W&B report."""

import os
from pathlib import Path

import click

from segkit.cli import completion
from segkit.cli.options import runs_option
from segkit.cli.runs import NAMES


@click.group()
def wandb() -> None:
    """Send W&B runs that were written offline; make a W&B report of a pipeline."""


@wandb.command()
@runs_option
@click.option("--dry-run", is_flag=True, help="List the runs that would be sent, and send nothing.")
def sync(runs: Path, dry_run: bool) -> None:
    """Send all runs of a runs folder that W&B has not received, and print what happened to each."""
    from segkit.core.errors import RequestError, ResultError
    from segkit.tasks import wandb_runs, wandb_sync

    if not runs.is_dir():
        raise RequestError(f"there is no folder {runs}; give the folder of the results with --runs")
    unsent = wandb_runs.unsent_runs(runs)
    if not unsent:
        click.echo(f"{runs} holds no W&B run that was not sent")
        return
    if dry_run:
        for folder in unsent:
            click.echo(str(folder))
        return
    _check_online("nothing was sent")
    failed = 0
    for sent in wandb_sync.send_all(runs):
        click.echo(sent.line)
        failed += sent.error is not None
    if failed:
        raise ResultError(f"{failed} of {len(unsent)} runs were not sent completely; the same command tries them again")


@wandb.command(epilog=NAMES)
@click.argument("run", default="latest", shell_complete=completion.runs)
@runs_option
@click.option("--entity", help="User or team of W&B; by default WANDB_ENTITY, else that of your login.")
def report(run: str, runs: Path, entity: str | None) -> None:
    """Make a W&B report and a saved workspace of the group of RUN, by default the latest finished pipeline.

    It needs the extra wandb-report, a login, and that the runs were sent. Each call makes a new report.
    """
    from pipelines.run_comparison import finished, wandb_report
    from segkit.core.errors import ResultError

    described = finished.find_run(run, runs)
    group = wandb_report.runs_of_group(described, finished.list_runs(runs).runs if runs.is_dir() else ())
    _check_online("nothing was made")
    pages = wandb_report.build(group, entity or os.environ.get("WANDB_ENTITY") or _default_entity())
    try:
        for kind, page in zip(("report", "workspace"), pages, strict=True):
            click.echo(f"{kind}: {page.save().url}")
    except Exception as error:  # W&B raises many kinds
        raise ResultError(f"W&B did not take it: {' '.join(str(error).split())}") from error


def _default_entity() -> str:
    from wandb import Api

    from segkit.core.errors import ResultError

    try:
        return str(Api(timeout=10).default_entity)
    except Exception as error:
        raise ResultError(f"W&B names no user: {' '.join(str(error).split())}; give --entity") from error


def _check_online(consequence: str) -> None:
    """Raise an error if nobody is logged in or the server does not answer."""
    from segkit.core.errors import RequestError, ResultError
    from segkit.tasks import wandb_runs

    if not wandb_runs.logged_in():
        raise RequestError("nobody is logged in to W&B, or WANDB_MODE is offline; run `wandb login` first")
    if (reason := wandb_runs.connection_error(wandb_runs.server())) is not None:
        raise ResultError(f"{wandb_runs.server()} does not answer ({reason}); {consequence}")
