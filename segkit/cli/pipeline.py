"""`segkit pipeline`: list, show, run, status."""

from itertools import takewhile
from pathlib import Path

import click

from pipelines.recipes import RECIPES
from segkit.cli import completion
from segkit.cli.options import runs_option
from segkit.cli.recipes import CONFIGS, Resolved, resolve, settings_options, shipped_configs
from segkit.core.errors import RequestError

MAX_LISTED = 3
"""A stage that reads all stages before it, and more than this number, has them summed up in the printed graph."""


@click.group()
def pipeline() -> None:
    """Show, run and inspect pipelines."""


@pipeline.command("list")
def list_() -> None:
    """List the pipelines, and the settings files that come with segkit."""
    for name, recipe in RECIPES.items():
        click.echo(f"{name}: {recipe.summary}")
    click.echo("\nsettings for -c:")
    for name in shipped_configs():
        click.echo(f"  {name}: {_first_sentence(CONFIGS / f'{name}.yaml')}")


def _first_sentence(path: Path) -> str:
    """First sentence of the comment at the head of a settings file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = " ".join(line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# "), lines))
    return head.partition(". ")[0].rstrip(".")


@pipeline.command()
@click.argument("name", shell_complete=completion.recipes)
@settings_options
def show(name: str, config: Path | None, overrides: tuple[str, ...], data: str | None) -> None:
    """Print the resolved settings and the graph."""
    from segkit.core.config import dump_yaml

    resolved = resolve(name, config, overrides, data)
    click.echo(f"# {name}, settings from {resolved.source}")
    click.echo(dump_yaml(resolved.settings))
    click.echo("# stages and their inputs")
    for line in _graph_lines(resolved):
        click.echo(f"# {line}")


def _graph_lines(resolved: Resolved) -> list[str]:
    stages = list(resolved.graph)
    width = max(len(stage.name) for stage in stages)
    lines = []
    for number, stage in enumerate(stages):
        read = list(stage.inputs.values())
        listed = "all stages above" if len(read) == number > MAX_LISTED else ", ".join(read)
        lines.append(f"{stage.name:<{width}}  {stage.type.name:<12}  {listed}".rstrip())
    return lines


@pipeline.command()
@click.argument("name", shell_complete=completion.recipes)
@click.argument("further", metavar="[KEY=VALUE]...", nargs=-1)
@settings_options
@runs_option
@click.option(
    "--upto",
    metavar="STAGE",
    shell_complete=completion.stages,
    help="Stop after this stage; run only what it needs. `segkit runs clean` keeps its result.",
)
@click.option("--dry-run", is_flag=True, help="Print what would run and why, and run nothing.")
def run(
    name: str,
    further: tuple[str, ...],
    config: Path | None,
    overrides: tuple[str, ...],
    data: str | None,
    runs: Path,
    upto: str | None,
    dry_run: bool,
) -> None:
    """Run every stage that is not done yet. After a failure or a kill, the same command resumes.

    KEY=VALUE means the same as --set KEY=VALUE; an agent of a W&B sweep gives its parameters so.
    """
    run_pipeline(resolve(name, config, (*overrides, *further), data), runs, upto, dry_run)


def run_pipeline(resolved: Resolved, runs: Path, upto: str | None, dry_run: bool = False) -> None:
    """Plan, check and run, then write the pipeline's W&B run and print where the results are."""
    from pipelines.execution.changes import Result, changes, expected_seconds
    from pipelines.execution.runner import check
    from pipelines.execution.runner import run as run_stages
    from pipelines.results import pipeline_run
    from pipelines.results.cleaning import keep

    planned = resolved.plan(runs, upto)
    check(planned, log=click.echo)
    if dry_run:
        why = changes(planned, runs)
        for number, item in enumerate(planned, start=1):
            action = {"done": "done", "started": "would resume", "missing": "would run"}[item.state]
            click.echo(f"[{number}/{len(planned)}] {item.stage.name}: {action} ({item.folder.name})")
            if item.stage.name in why:
                click.echo(f"    {why[item.stage.name]}")
        return
    if upto is not None:
        keep(next(item.folder for item in planned if item.stage.name == upto))
    read: dict[Path, Result] = {}
    title = pipeline_run.readable_title(Path(resolved.source).stem, resolved.overrides)
    complete = len(planned) == len(resolved.graph)
    with pipeline_run.tracked(resolved.name, title, resolved.settings, planned, complete, click.echo) as launched:
        launched += run_stages(
            planned,
            log=click.echo,
            parallel=resolved.settings.runtime.parallel,
            expected=lambda: expected_seconds(planned, runs, read),
        )
    last = planned[-1].folder
    report = last / "report.html"
    click.echo(f"report: {report}" if report.exists() else f"result: {last}")


@pipeline.command()
@click.argument("name", shell_complete=completion.recipes)
@settings_options
@runs_option
def status(name: str, config: Path | None, overrides: tuple[str, ...], data: str | None, runs: Path) -> None:
    """Print which stages are done, started or missing, how long they took, and why they would run again."""
    from pipelines.execution.changes import changes

    resolved = resolve(name, config, overrides, data)
    if resolved.settings.data.source is None:
        raise RequestError(
            "no data set given, and without it the results are unknown: status needs the same -c, --set and --data as "
            "`segkit pipeline run`; `segkit runs list` lists all finished pipelines"
        )
    planned = resolved.plan(runs)
    why = changes(planned, runs)
    width = max(len(item.stage.name) for item in planned)
    for item in planned:
        done = item.done
        spent = f"{done['seconds']:8.1f} s  {done['finished']}" if done else ""
        click.echo(f"{item.stage.name:<{width}}  {item.state:<7}  {item.folder.name}  {spent}".rstrip())
        if item.stage.name in why:
            click.echo(f"{'':<{width}}  {why[item.stage.name]}")
