"""`segkit settings`: the reference of all settings."""

import click

from segkit.cli import completion


@click.command()
@click.argument("name", required=False, shell_complete=completion.settings)
def settings(name: str | None) -> None:
    """Print every setting of NAME with its type, range, default and meaning.

    NAME is a recipe, or a section or key of its settings, as in `gan` or `phases`; without it, all are listed.
    """
    from segkit.cli import settings_reference as reference

    if name is None:
        for title, listed in (("recipes", reference.recipes()), ("sections", reference.sections())):
            click.echo(f"{title}:")
            for section in listed.values():
                click.echo(f"  {section.name}: {section.description}")
        return
    click.echo("\n\n".join("\n".join(reference.text(section)) for section in reference.find(name)))
