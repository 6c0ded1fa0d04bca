"""`segkit stage`: one stage in this process."""

from pathlib import Path

import click

from segkit.core.errors import RequestError


@click.command()
@click.argument("name")
@click.option(
    "-c", "--config", type=click.Path(path_type=Path), required=True, help="A stage file, or a recipe's settings."
)
@click.option(
    "--input", "inputs", metavar="NAME=DIR", multiple=True, help="Folder of a finished stage that this one reads."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write; nothing else is written.")
@click.option("--data", metavar="NAME:DIR", help="The data set, where --config is a recipe's settings.")
def stage(name: str, config: Path, inputs: tuple[str, ...], out: Path, data: str | None) -> None:
    """Carry out the stage NAME, or go on with it.

    --config is the stage file that `pipeline run` writes, or a recipe's settings file, of which the stage called NAME
    is taken. Done already: nothing happens.
    """
    from pipelines.execution import execute
    from pipelines.request import StageRequest, read_request
    from segkit.core.config import read_yaml
    from segkit.tasks.trainer import quiet

    quiet()
    if "verb" in read_yaml(config):
        request = read_request(config)
        if request.name != name:
            raise RequestError(f"{config} is of the stage {request.name!r}, not {name!r}")
    else:
        from segkit.cli.recipes import resolve

        resolved = resolve("synthetic-aug", config, (), data)
        chosen = resolved.graph[name]
        request = StageRequest(chosen.name, chosen.verb, chosen.settings, resolved.settings.runtime)
        given = {text.partition("=")[0] for text in inputs}
        if missing := set(chosen.inputs) - given:
            raise RequestError(
                f"stage {name} reads {', '.join(sorted(chosen.inputs))}; give --input {min(missing)}=DIR"
            )
        if unknown := given - set(chosen.inputs):
            raise RequestError(
                f"stage {name} reads {', '.join(sorted(chosen.inputs)) or 'nothing'}, not {min(unknown)}"
            )
    execute(request, dict(_parse_input(text) for text in inputs), out.resolve())


def _parse_input(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise RequestError(f"--input {text!r} is not of the form NAME=DIR")
    if not Path(folder).is_dir():
        raise RequestError(f"--input {name}: {folder} is not a folder")
    return name, Path(folder).resolve()
