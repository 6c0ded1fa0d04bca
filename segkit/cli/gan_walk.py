"""To come."""

import click


@click.command()
def interpolate() -> None:
    """To come."""


@click.command()
def mix() -> None:
    """To come."""
