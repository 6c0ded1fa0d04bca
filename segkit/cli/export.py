"""`segkit export`: a trained model as a folder to give away, or as an ONNX file."""

from pathlib import Path

import click

from segkit.cli.options import PATH, model_option, tta_option


@click.command()
@model_option("network", "Folder of the stage that trained it, a shipped or an exported model", required=True)
@click.option("--out", type=PATH, required=True, help="The new folder, or the .onnx file.")
@click.option("--onnx", is_flag=True, help="Write one ONNX file instead.")
@click.option("--evaluation", type=PATH, help="Folder of the stage `evaluate` whose scores go into the card.")
@click.option(
    "--out-of-fold",
    type=PATH,
    help="Folder of the stage that a cross-validation of the same training ends with, RUNS/evaluate-...: threshold, "
    "temperature and scores of its out-of-fold predictions go into the card.",
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="Of a binary model: replaces its own, if no fold chooses one."
)
@tta_option("Test-time augmentation that the model's users get by default; as before if not given.")
@click.option("--notes", default="", help="Text for the card: data, terms of use, limits.")
def export(
    weights: Path,
    out: Path,
    onnx: bool,
    evaluation: Path | None,
    out_of_fold: Path | None,
    threshold: float | None,
    tta: str | None,
    notes: str,
) -> None:
    """Copy a model with its settings, commit, digests and scores in model.json.

    The folder works with --weights and `segkit.load` anywhere, and so does an ONNX file. Its input `image` is
    (n, c, h, w) in [0, 1], of any batch size and of sides that are multiples of the stride; its output `probs` is
    (n, k, h, w). Its metadata hold the card, the classes, the threshold, the stride and the preprocessing.
    """
    from segkit.core.outputs import check_file, check_new_folder

    if out_of_fold is not None and threshold is not None:
        raise click.UsageError("--out-of-fold chooses the threshold; leave --threshold away")
    if out.suffix.lower() == ".onnx" and not onnx:
        raise click.UsageError(f"--out {out}: add --onnx for an ONNX file, or name a folder")
    if onnx:
        check_file(out, "--out", (".onnx",))
    else:
        check_new_folder(out)
    from pipelines.results.out_of_fold import out_of_fold as read_out_of_fold
    from segkit.tasks.export import export_model, export_onnx, exported_card

    folds = None if out_of_fold is None else read_out_of_fold(out_of_fold, weights)
    card = exported_card(weights, evaluation, notes, folds, threshold, tta)
    (export_onnx if onnx else export_model)(weights, out, card)
    click.echo(f"model in {out}")
