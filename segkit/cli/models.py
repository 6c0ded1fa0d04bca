"""`segkit models`: the list of networks."""

import click


@click.command()
def models() -> None:
    """List the networks with their settings and numbers of parameters."""
    from segkit.models import build_model
    from segkit.models.settings import MODELS

    for kind, place in MODELS.items():
        settings = kind(name=kind.model_fields["name"].default)
        count = sum(parameter.numel() for parameter in build_model(settings).parameters())
        click.echo(f"{settings.name}: {(type(settings).__doc__ or '').splitlines()[0]}")
        click.echo(f"  {count:,} parameters; stride {settings.stride}; {place}")
        for key, field in type(settings).model_fields.items():
            click.echo(f"  {key} = {getattr(settings, key)!r}  {field.description or ''}".rstrip())
