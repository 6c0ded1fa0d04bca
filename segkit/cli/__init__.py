"""The command line: a table of commands that are imported when they run."""

import os
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import NoReturn

import click

from segkit import __version__
from segkit.cli.lazy import lazy_group
from segkit.core import rank_processes
from segkit.core.errors import SegkitError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "pipeline": ("segkit.cli.pipeline:pipeline", "Show, run and inspect pipelines."),
    "stage": ("segkit.cli.stage:stage", "Run one stage; `pipeline run` calls it."),
    "train": ("segkit.cli.aliases:train", "Train the teacher, or another network of a recipe."),
    "gan": ("segkit.cli.gan:gan", "Train a GAN, generate images with it, evaluate it, and import weights."),
    "pseudo-label": ("segkit.cli.aliases:pseudo_label", "Label the synthetic images with the teacher."),
    "ensemble": ("segkit.cli.aliases:ensemble", "Combine the trained models."),
    "predict": ("segkit.cli.predict:predict", "Segment your own images with a trained model."),
    "evaluate": ("segkit.cli.evaluate:evaluate", "Score predictions against a data set's labels."),
    "export": ("segkit.cli.export:export", "Copy a trained model with a card, to share it."),
    "report": ("segkit.cli.report:report", "Print the path of a run's HTML report."),
    "runs": ("segkit.cli.runs:runs", "List, show and compare finished pipelines; clean up."),
    "wandb": ("segkit.cli.wandb:wandb", "Send W&B runs that were written offline; make a W&B report."),
    "data": ("segkit.cli.data:data", "Draw a phantom data set; check one on disk."),
    "settings": ("segkit.cli.settings:settings", "Print settings with their types, defaults and meaning."),
    "models": ("segkit.cli.models:models", "List networks and shipped models; print settings and cards."),
    "bench": ("segkit.cli.bench:bench", "Measure speed, and scores on degraded images."),
    "doctor": ("segkit.cli.doctor:doctor", "Check this installation."),
}


class _Segkit(lazy_group(COMMANDS)):  # type: ignore[misc]
    """The whole command line; `--debug` may stand anywhere in it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:
            args = ["--debug", *(arg for arg in args[:end] if arg != "--debug"), *args[end:]]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


@click.group(cls=_Segkit, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="segkit")
@click.option("--debug", is_flag=True, help="Show the traceback of an error; before or after the command.")
def cli(debug: bool) -> None:
    """Vessel segmentation from twenty labelled fundus photographs, with and without synthetic images."""
    if debug:
        os.environ["SEGKIT_DEBUG"] = "1"  # stages run in processes of their own


class Terminated(SystemExit):
    """The process received SIGTERM, as `kill` and job schedulers send it."""

    received = False
    """Whether it did. A module that is being imported may swallow the exception and raise another one."""


def main(args: list[str] | None = None) -> NoReturn:
    """Run a command.

    Exit codes: 0 done, 1 a run failed, 2 the request was wrong, 130 interrupted (SIGINT), 143 terminated (SIGTERM).
    A stage under the runner has more exit codes, see `pipelines.execution.process`.
    """
    # albumentations would look for a newer version of itself on the internet.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    # Waiting threads sleep instead of spinning. On a shared machine, spinning made training several times slower. The
    # OpenMP runtime reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    Terminated.received = False
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        sys.exit(_run(args))
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminate(*_: object) -> NoReturn:
    Terminated.received = True
    raise Terminated(143)


def _run(args: list[str] | None) -> int:
    """Run a command, print an error if there is one, and return the exit code."""
    try:
        cli.main(args=args, prog_name="segkit", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _ended("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as error:
        if isinstance(error, Terminated):
            return _ended("terminated", 143)
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning turns an interrupt into SystemExit
            return _ended("interrupted", 130)
        raise
    except Exception as error:
        return _ended("terminated", 143) if Terminated.received else _failed(error)
    return 0


def _failed(error: Exception) -> int:
    from pipelines.execution.process import UNDER_RUNNER, is_first_rank
    from segkit.cli import errors

    if os.environ.get("SEGKIT_DEBUG"):
        traceback.print_exc()
    cause = errors.cause_to_report(error)
    # Only rank 0 (or the runner) reports; other ranks only saw the connection drop.
    if is_first_rank() or not errors.is_lost_peer(cause):
        print(f"error: {errors.explain(cause)}", file=sys.stderr)
    rank_processes.end_all()
    if UNDER_RUNNER in os.environ:
        return errors.exit_code(cause)
    return cause.exit_code if isinstance(cause, SegkitError) else 1


def _show(error: click.ClickException) -> None:
    """Click's own errors in one line; a group without a command shows its help."""
    context = getattr(error, "ctx", None)
    if context is None or type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        print(
            f"error: {error.format_message()}{_hint(error, context.command)} (see `{context.command_path} --help`)",
            file=sys.stderr,
        )


def _hint(error: click.ClickException, command: click.Command) -> str:
    """Where the folder of the results may have been given without --runs."""
    possible = any(option.name == "runs" for option in command.params)
    extra = "unexpected extra argument" in error.format_message()
    return "; the folder of the results is given by --runs FOLDER" if extra and possible else ""


def _ended(how: str, code: int) -> int:
    from pipelines.execution.process import UNDER_RUNNER

    if UNDER_RUNNER not in os.environ:  # otherwise the runner prints it
        print(f"{how}; run the same command again", file=sys.stderr)
    return code
