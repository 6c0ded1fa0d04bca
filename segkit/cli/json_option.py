"""`--json FILE`, which several commands have: their numbers for other programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def json_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option as `json_path`; a file that cannot be written is refused before anything is computed.

    Args:
        what: the numbers, for the help.
    """
    kind = click.Path(path_type=Path)
    return click.option("--json", "json_path", type=kind, callback=_checked, help=f"Write {what} here too, as JSON.")


def _checked(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    from segkit.core.outputs import check_file

    if path is not None:
        check_file(path, "--json")
    return path
