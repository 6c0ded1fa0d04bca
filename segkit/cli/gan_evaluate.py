"""To come."""

import click


@click.command()
def evaluate() -> None:
    """To come."""
