"""`segkit stage`: one stage in this process."""

import os
from dataclasses import replace
from pathlib import Path

import click

from pipelines.execution.process import UNDER_RUNNER
from pipelines.stage import read_stage
from pipelines.stage_types import STAGE_TYPES
from segkit.cli import completion
from segkit.cli.options import PATH
from segkit.cli.recipes import config_path, recipe_option, resolve
from segkit.core.config import read_yaml
from segkit.core.errors import RequestError


@click.command()
@click.argument("name", shell_complete=completion.stages)
@click.option(
    "-c",
    "--config",
    type=PATH,
    required=True,
    shell_complete=completion.configs,
    help="A stage file, or a recipe's settings.",
)
@click.option(
    "--input", "inputs", metavar="NAME=DIR", multiple=True, help="Folder of a finished stage that this one reads."
)
@click.option("--out", type=PATH, required=True, help="Folder to write; nothing else is written.")
@click.option("--data", metavar="NAME:DIR", help="The data set, where --config is a recipe's settings.")
@recipe_option
def stage(name: str, config: Path, inputs: tuple[str, ...], out: Path, data: str | None, recipe: str) -> None:
    """Run the stage NAME, or resume it.

    --config is the stage file that `pipeline run` writes, or the settings file of --recipe, of which the stage called
    NAME is taken. Done already: nothing happens.
    """
    from pipelines.execution.worker import execute

    config = config_path(config)
    planned = None
    if "stage" in (content := read_yaml(config)):
        planned = str(content["fingerprint"]) if UNDER_RUNNER in os.environ else None
        request = read_stage(config, STAGE_TYPES)
        if request.name != name:
            raise RequestError(f"{config} is of the stage {request.name!r}, not {name!r}")
    else:
        resolved = resolve(recipe, config, (), data)
        request = replace(resolved.graph[name], runtime=resolved.settings.runtime)
    execute(request, dict(_parse_input(text) for text in inputs), out.resolve(), planned)


def _parse_input(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise RequestError(f"--input {text!r} is not of the form NAME=DIR")
    if not Path(folder).is_dir():
        raise RequestError(f"--input {name}: {folder} is not a folder")
    return name, Path(folder).resolve()
