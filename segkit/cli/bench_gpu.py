"""`segkit bench gpu`: tests, timings and trainings on a machine with a CUDA device; all figures in one JSON file."""

from pathlib import Path

import click

from segkit.cli.options import PATH, folder_option


@click.command()
@folder_option("Folder.", default=Path("runs/gpu"), show_default=True)
@click.option("--drive", type=PATH, help="DRIVE folder; without it no GAN is trained on DRIVE.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=8.0,
    show_default=True,
    help="Training time of the GAN on DRIVE; another run continues the training.",
)
@click.option("--only", multiple=True, metavar="STEP", help="Run these steps only; may be given several times.")
@click.option("--skip", multiple=True, metavar="STEP", help="Leave these steps out; may be given several times.")
@click.option("--rehearse", is_flag=True, help="Run all steps with tiny sizes, on phantoms and any device.")
def gpu(
    out: Path, drive: Path | None, minutes: float, only: tuple[str, ...], skip: tuple[str, ...], rehearse: bool
) -> None:
    """Run tests, timings and trainings on a CUDA device, one process after another.

    The figures of all runs are collected in OUT/gpu.json; pictures are beside it, logs in OUT/logs. A failed step is
    recorded and the next one runs.
    """
    from pipelines.gpu_bench import run, steps
    from segkit.core.errors import RequestError, SegkitError

    if drive is not None and not drive.is_dir():
        raise RequestError(f"--drive {drive} is no folder; name the one that holds DRIVE's `training` and `test`")
    request = steps.Request(out.resolve(), drive and drive.resolve(), minutes, rehearse)
    chosen = run.choose(steps.steps(request), only, skip)
    facts = run.machine()
    if facts["gpu"] is None and not rehearse:
        raise RequestError(
            f"torch {facts['torch']} finds no CUDA device; run on a machine with a GPU, or give --rehearse"
        )
    if not run.run(chosen, request, facts):
        raise SegkitError(f"some steps failed; see {request.out / run.FIGURES} and {request.out / 'logs'}")
