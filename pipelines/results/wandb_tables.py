"""Tables, curves and the report of a finished pipeline, as W&B shows them."""

from pathlib import Path

from pipelines.results.scored_runs import curve_rows, image_metrics, image_rows, load_runs

AXES = {"roc": ("1 - specificity", "sensitivity"), "precision-recall": ("sensitivity", "precision")}


def evaluation_tables(evaluation: Path, share_names: bool) -> dict[str, object]:
    """The table of images and, of a binary task, ROC and precision-recall; of the most trustworthy split.

    Args:
        evaluation: the folder of the scores.
        share_names: name the images; otherwise they are numbered in the order of their names.
    """
    import wandb

    loaded = load_runs(evaluation)
    if loaded is None:
        return {}
    split, runs = loaded
    rows = image_rows(runs)
    numbers = {name: number for number, name in enumerate(sorted({name for _, name, _ in rows}), start=1)}
    metrics = image_metrics(runs)
    data = [[model, name if share_names else numbers[name], *values] for model, name, values in rows]
    tables: dict[str, object] = {f"{split}/images": wandb.Table(columns=["model", "image", *metrics], data=data)}
    for curve, points in curve_rows(runs).items():
        if points:
            table = wandb.Table(columns=["model", "threshold", *AXES[curve]], data=points)
            tables[f"{split}/{curve}"] = wandb.plot.line(table, *AXES[curve], stroke="model", title=curve)
    return tables


def report_page(report: Path) -> dict[str, object]:
    """The HTML report. It holds pictures."""
    import wandb

    return {"report": wandb.Html((report / "report.html").read_text(encoding="utf-8"), inject=False)}
