"""`segkit export`: a trained model as a folder to give away."""

from pathlib import Path

import click


@click.command()
@click.option("--weights", type=click.Path(path_type=Path), required=True, help="Folder of the stage that trained it.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The new folder.")
@click.option(
    "--evaluation",
    type=click.Path(path_type=Path),
    help="Folder of the stage `evaluate` whose scores go into the card.",
)
@click.option("--notes", default="", help="Text for the card: data, terms of use, limits.")
def export(weights: Path, out: Path, evaluation: Path | None, notes: str) -> None:
    """Copy a model with its settings, commit, digests and scores in model.json.

    The folder works with --weights and `segkit.load` anywhere.
    """
    from segkit.core.outputs import check_folder
    from segkit.tasks.export import export_model

    check_folder(out, "--out")
    export_model(weights, out, evaluation, notes)
    click.echo(f"model in {out}")
