"""Options shared by several commands."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

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


def devices_option(help_text: str) -> Callable[[F], F]:
    """`--devices`, a number or "auto"; `RuntimeSettings` rejects anything else.

    Args:
        help_text: what the devices do.
    """
    return click.option("--devices", default="1", show_default=True, callback=_parse_devices, help=help_text)


def _parse_devices(ctx: click.Context, param: click.Parameter, text: str) -> int | str:
    return int(text) if text.isdigit() else text
