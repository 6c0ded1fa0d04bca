"""To come."""

import click


@click.command()
def project() -> None:
    """To come."""
