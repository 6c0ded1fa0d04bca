"""Options shared by several commands."""

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import click

from segkit.cli import completion
from segkit.core.outputs import check_file, check_folder

F = TypeVar("F", bound=Callable[..., object])

PATH = click.Path(path_type=Path)
"""Type of an option that is a path."""

group_pattern_option = click.option(
    "--group-pattern",
    metavar="REGEX",
    help="Regular expression whose one capture group is the patient in each image's name, as in '^(p[0-9]+)_'. By "
    "default groups.csv in the data set's folder is read, then CHASE_DB1's names, and otherwise each image is its own "
    "patient.",
)


split_option = click.option(
    "--split", type=click.Choice(["training", "test", "all"]), default="all", show_default=True, help="Which part."
)


def tta_option(help_text: str) -> Callable[[F], F]:
    """`--tta`."""
    return click.option("--tta", type=click.Choice(["none", "flips", "d4"]), help=help_text)


def runs_option(command: F, help_text: str = "Folder of the results.") -> F:
    """`--runs`."""
    return click.option("--runs", type=PATH, default=Path("runs"), show_default=True, help=help_text)(command)


def file_option(option: str, help_text: str, *suffixes: str, required: bool = False) -> Callable[[F], F]:
    """A file to write, as `<option>_path`; one that cannot be written is refused before anything is computed.

    Args:
        suffixes: as of `check_file`.
    """
    check = partial(check_file, option=option, suffixes=suffixes)
    name = option.strip("-").replace("-", "_") + "_path"
    return click.option(option, name, type=PATH, callback=_checked(check), required=required, help=help_text)


def folder_option(help_text: str, **attributes: Any) -> Callable[[F], F]:
    """`--out`, a folder to write; one that cannot be written is refused before anything is computed."""
    check = partial(check_folder, option="--out")
    return click.option("--out", type=PATH, callback=_checked(check), help=help_text, **attributes)


def _checked(check: Callable[[Path], None]) -> Callable[[click.Context, click.Parameter, Path | None], Path | None]:
    """The callback of an option that checks a path if one is given."""

    def callback(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
        if path is not None:
            check(path)
        return path

    return callback


def json_option(numbers: str) -> Callable[[F], F]:
    """`--json FILE` as `json_path`; `numbers` names the content in the help text."""
    return file_option("--json", f"Write {numbers} here too, as JSON.")


NAMES = "`latest`, `best` (validation Dice), a stage's name, the start of a folder's name in --runs, or a path"


def model_option(kind: Literal["network", "gan"], help_text: str, **attributes: Any) -> Callable[[F], F]:
    """`--weights`, resolved to a path, and `--runs`, in which names are searched.

    Args:
        help_text: what else can be given, without a full stop.
        attributes: of the option `--weights`.
    """
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

        return cast(F, weights(runs_option(resolved, "Folder of the results, for the names of --weights.")))

    return decorate


def named_model(name: str, runs: Path, kind: Literal["network", "gan"]) -> Path:
    """The path of a model's name; the choice is printed where the name is not a path."""
    from pipelines.execution.process import is_first_rank
    from pipelines.results.model_names import find_model

    model = find_model(name, runs, kind)
    if model.reason and is_first_rank():
        click.echo(f"weights {name}: {model.folder} ({model.reason})", err=True)
    return model.folder


def devices_option(help_text: str) -> Callable[[F], F]:
    """`--devices`, a number or "auto"; `RuntimeSettings` rejects anything else."""
    return click.option("--devices", default="1", show_default=True, callback=_parse_devices, help=help_text)


def _parse_devices(ctx: click.Context, param: click.Parameter, text: str) -> int | str:
    return int(text) if text.isdigit() else text
