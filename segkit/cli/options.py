"""Options shared by several commands."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import click

from segkit.cli import completion

F = TypeVar("F", bound=Callable[..., object])

group_pattern_option = click.option(
    "--group-pattern",
    metavar="REGEX",
    help="Regular expression whose one capture group is the patient in each image's name, as in '^(p[0-9]+)_'. By "
    "default groups.csv in the data set's folder is read, then CHASE_DB1's names, and otherwise each image is its own "
    "patient.",
)


def json_option(numbers: str) -> Callable[[F], F]:
    """`--json FILE` as `json_path`; a file that cannot be written is refused before anything is computed.

    Args:
        numbers: what is written, for the help.
    """
    kind = click.Path(path_type=Path)
    help_text = f"Write {numbers} here too, as JSON."
    return click.option("--json", "json_path", type=kind, callback=_check_writable, help=help_text)


def _check_writable(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    from segkit.core.outputs import check_file

    if path is not None:
        check_file(path, "--json")
    return path


NAMES = "`latest`, `best` (validation Dice), a stage's name, the start of a folder's name in --runs, or a path"


def model_option(kind: Literal["network", "gan"], help_text: str, **attributes: Any) -> Callable[[F], F]:
    """`--weights`, resolved to a path, and `--runs`, in which names are searched.

    Args:
        kind: what the weights are of.
        help_text: what else can be given, without a full stop.
        attributes: of the option.
    """
    runs = click.option(
        "--runs",
        type=click.Path(path_type=Path),
        default=Path("runs"),
        show_default=True,
        help="Folder of the results, for the names of --weights.",
    )
    weights = click.option(
        "--weights",
        metavar="MODEL",
        shell_complete=completion.models(kind),
        help=f"{help_text}; or {NAMES}.",
        **attributes,
    )

    def decorate(command: F) -> F:
        @wraps(command)  # the name is resolved when the command runs, not when its line is parsed
        def resolved(*args: object, weights: str, runs: Path, **options: object) -> object:
            return command(*args, weights=named_model(weights, runs, kind), **options)

        return cast(F, weights(runs(resolved)))

    return decorate


def named_model(name: str, runs: Path, kind: Literal["network", "gan"]) -> Path:
    """The path of a model's name; the choice is printed where the name is not a path."""
    from pipelines.execution.worker import is_first_rank
    from pipelines.results.model_names import find_model

    model = find_model(name, runs, kind)
    if model.reason and is_first_rank():
        click.echo(f"weights {name}: {model.folder} ({model.reason})", err=True)
    return model.folder


def devices_option(help_text: str) -> Callable[[F], F]:
    """`--devices`, a number or "auto"; `RuntimeSettings` rejects anything else.

    Args:
        help_text: what the devices do.
    """
    return click.option("--devices", default="1", show_default=True, callback=_parse_devices, help=help_text)


def _parse_devices(ctx: click.Context, param: click.Parameter, text: str) -> int | str:
    return int(text) if text.isdigit() else text
