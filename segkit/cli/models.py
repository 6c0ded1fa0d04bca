"""`segkit models`: the list of networks."""

from pathlib import Path

import click

from segkit.cli import completion
from segkit.cli.options import json_option


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completion.networks)
@json_option("the list, settings included,")
def models(names: tuple[str, ...], json_path: Path | None) -> None:
    """List the shipped models, and the networks: size, cost, the paper, and the licence of its authors' code.

    Networks that are named are listed with their settings. The code here is written from the papers and has this
    project's licence.
    """
    from segkit.core.files import write_json
    from segkit.models.catalogue import describe
    from segkit.models.cost import SIDE
    from segkit.models.settings import MODELS, default_settings
    from segkit.tasks.weights import read_card
    from segkit.weights import shipped_models

    names_of_all = [kind.model_fields["name"].default for kind in MODELS]
    entries = [describe(default_settings(name)) for name in names or names_of_all]
    for entry in entries:
        click.echo(f"{entry.name}: {entry.description}")
        cost = f"{entry.multiply_adds / 1e9:.2f} billion multiply-adds at {SIDE}x{SIDE}"
        click.echo(f"  {entry.parameters:,} parameters; {cost}; stride {entry.stride}; {entry.implementation}")
        click.echo(f"  paper: {entry.paper}")
        click.echo(f"  authors' code: {entry.authors_code}; licence: {entry.licence}")
        for setting in entry.settings if names else ():
            click.echo(f"  {setting.name} = {setting.default!r}  {setting.description}".rstrip())
    if not names:
        for name, folder in shipped_models().items():
            click.echo(f"\nshipped model: {name}, a {read_card(folder).details['model']['name']}; card in {folder}")
        click.echo("\nSettings of a network: segkit models NAME")
    if json_path is not None:
        write_json(json_path, [entry.to_json() for entry in entries])
