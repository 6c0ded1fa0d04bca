"""`segkit wandb`: W&B runs that were written offline."""

from pathlib import Path

import click

from segkit.cli.recipes import runs_option


@click.group()
def wandb() -> None:
    """Send W&B runs that were written offline."""


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
    if not wandb_runs.logged_in():
        raise RequestError("nobody is logged in to W&B, or WANDB_MODE is offline; run `wandb login` first")
    if (reason := wandb_runs.connection_error(wandb_runs.server())) is not None:
        raise ResultError(f"{wandb_runs.server()} does not answer ({reason}); nothing was sent")
    failed = 0
    for sent in wandb_sync.send_all(runs):
        click.echo(sent.line)
        failed += sent.error is not None
    if failed:
        raise ResultError(f"{failed} of {len(unsent)} runs were not sent completely; the same command tries them again")
