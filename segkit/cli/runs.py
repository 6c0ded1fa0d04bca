"""`segkit runs`: list, show and compare finished pipelines, and remove what none of them needs."""

from pathlib import Path

import click

from segkit.cli import completion
from segkit.cli.options import PATH, file_option, json_option, runs_option

NAMES = "RUN is `latest`, `best` (by Dice), the first digits of an id, or the folder of a report."


@click.group()
def runs() -> None:
    """List, show and compare finished pipelines, and remove what none of them needs."""


@runs.command("list")
@runs_option
@json_option("the list")
def list_(runs: Path, json_path: Path | None) -> None:
    """List the finished pipelines, the newest first, with Dice and AUROC of their main model."""
    from pipelines.run_comparison import finished, text
    from segkit.core.files import write_json
    from segkit.metrics.tables import render

    listing = finished.list_runs(runs)
    if listing.runs:
        click.echo(render(text.run_table(listing)))
    else:
        click.echo(f"{runs} holds no finished run")
    for note in text.listing_notes(listing):
        click.echo(note)
    if json_path is not None:
        write_json(json_path, text.listing_json(listing))


@runs.command(epilog=NAMES)
@click.argument("run", shell_complete=completion.runs)
@runs_option
def show(run: str, runs: Path) -> None:
    """Print stages, changed settings, scores and report of a finished pipeline."""
    from pipelines.run_comparison import finished, text
    from segkit.metrics.tables import MAX_WIDTH, render

    shown = finished.find_run(run, runs)
    click.echo(f"{text.summary(shown)}\n")
    for table in text.run_tables(shown):
        click.echo(render(table, MAX_WIDTH if table.columns[0] == "Metric" else None))
    click.echo(f"report: {shown.report}")


@runs.command(epilog=NAMES)
@click.argument("names", metavar="RUN...", nargs=-1, required=True, shell_complete=completion.runs)
@runs_option
@click.option(
    "--baseline",
    metavar="RUN",
    shell_complete=completion.runs,
    help="The run that the others are compared with; by default the first.",
)
@click.option("--model", metavar="NAME", help="Model of every run; by default the ensemble, else the baseline.")
@click.option("--metric", "metrics", metavar="NAME", multiple=True, help="Metric to test, as in auroc; repeatable.")
@click.option("--per-class", is_flag=True, help="Also show and test each class.")
@file_option("--html", "Write the comparison here as a page.")
@file_option("--csv", "Write every number here, as CSV.")
@json_option("every number")
def compare(
    names: tuple[str, ...],
    runs: Path,
    baseline: str | None,
    model: str | None,
    metrics: tuple[str, ...],
    per_class: bool,
    html_path: Path | None,
    csv_path: Path | None,
    json_path: Path | None,
) -> None:
    """Compare finished pipelines on the same images: settings, scores, paired differences from a baseline."""
    from pipelines.run_comparison import page, text
    from pipelines.run_comparison.compare import compare_runs
    from pipelines.run_comparison.finished import find_runs
    from segkit.core.files import write_json, write_text
    from segkit.metrics.tables import MAX_WIDTH, render

    chosen = find_runs(names if baseline is None else (baseline, *names), runs)
    comparison = compare_runs(chosen, model=model, metrics=metrics or ("dice",), per_class=per_class)
    for table in text.comparison_tables(comparison):
        click.echo(render(table, MAX_WIDTH))
    for item in comparison.differences:
        click.echo(text.sentence(item, comparison.baseline.id))
    if html_path is not None:
        write_text(html_path, page.render(comparison))
    if csv_path is not None:
        write_text(csv_path, text.comparison_csv(comparison))
    if json_path is not None:
        write_json(json_path, text.comparison_json(comparison))


@runs.command(epilog=NAMES)
@click.argument("names", metavar="[RUN]...", nargs=-1, shell_complete=completion.runs)
@runs_option
@file_option("--file", "The study, a CSV file.", required=True)
@click.option("--model", metavar="NAME", help="Model of the added runs; by default the ensemble, else the baseline.")
@click.option(
    "--baseline", metavar="RUN", help="First digits of the run that all are tested against; by default the first row."
)
def study(names: tuple[str, ...], runs: Path, file_path: Path, model: str | None, baseline: str | None) -> None:
    """Add finished runs to a study and print it, with a paired test of each row against one of them.

    A row holds the settings that differ from the defaults, seconds, and scores of the images that were left out of
    training: out-of-fold, else held-out, else validation images, never the data set's own test images.
    """
    from pipelines.run_comparison.finished import find_runs
    from pipelines.run_comparison.study import read_study, study_row, study_table, with_rows, write_study
    from segkit.metrics.tables import render

    rows = with_rows(read_study(file_path), [study_row(run, model) for run in find_runs(names, runs)] if names else [])
    if not rows:
        raise click.UsageError(f"{file_path} holds no row; name runs to add, `segkit runs list` lists them")
    table = study_table(rows, baseline)
    if names:
        write_study(file_path, rows)
    click.echo(render(table))


@runs.command()
@click.argument("folder", metavar="[RUNS]", type=PATH, required=False)
@runs_option
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
def clean(folder: Path | None, runs: Path, yes: bool, dry_run: bool) -> None:
    """Remove the stages in the folder RUNS that no finished pipeline needs, after asking.

    A pipeline that is running is kept, and so is one that stopped early if no other one has finished since. Kept with
    what it needs is each stage that you asked for by name: by --upto, or a command such as `segkit gan train`; remove
    its folder by hand. Locked stages, exported models and all folders that are not of a pipeline's stage are never
    removed.
    """
    from pipelines.results.cleaning import plan_cleaning, remove
    from segkit.core.wording import counted, data_size
    from segkit.tasks.wandb_runs import unsent_runs

    folder = runs if folder is None else folder
    cleaning = plan_cleaning(folder)
    removable = cleaning.removable
    width = max((len(stage.path.name) for stage in removable), default=0)
    for stage in removable:
        click.echo(f"{stage.path.name:<{width}}  {data_size(stage.num_bytes):>9}  {stage.state}")
    total = data_size(sum(stage.num_bytes for stage in removable))
    click.echo(
        f"{counted(len(removable), 'stage')} that no finished pipeline needs, {total}; {len(cleaning.kept)} kept"
    )
    unsent = {run.parents[1].name for run in unsent_runs(folder)} & {stage.path.name for stage in removable}
    if unsent:
        click.echo(f"{len(unsent)} of them hold W&B runs that were not sent; `segkit wandb sync` sends them")
    if cleaning.leftovers:
        click.echo(f"{counted(len(cleaning.leftovers), 'stage')} that an interrupted cleaning has left half removed")
    if dry_run or not (removable or cleaning.leftovers):
        return
    try:
        agreed = yes or click.confirm("Remove them?")
    except click.Abort:
        raise click.UsageError("no answer, so nothing was removed; --yes removes without asking") from None
    if not agreed:
        click.echo("nothing was removed")
        return
    for stage, removed in remove(cleaning):
        click.echo(f"{stage.path.name}: {'removed' if removed else 'kept, because a process is writing it now'}")
