"""`segkit models`: the networks there are."""

import click


@click.command()
def models() -> None:
    """List the networks with their settings and numbers of parameters."""
    from segkit.models import MODELS, build_model
    from segkit.models.settings import MODEL_SETTINGS, default_settings

    for name in MODEL_SETTINGS:
        settings = default_settings(name)
        count = sum(parameter.numel() for parameter in build_model(settings).parameters())
        click.echo(f"{name}: {(type(settings).__doc__ or '').splitlines()[0]}")
        click.echo(f"  {count:,} parameters; stride {settings.stride}; {MODELS[name]}")
        for key, field in type(settings).model_fields.items():
            click.echo(f"  {key} = {getattr(settings, key)!r}  {field.description or ''}".rstrip())
