"""`pseudo-label`: the teacher's vessel probabilities of every synthetic fundus, kept soft."""

from dataclasses import replace

from pipelines.stage_types import PseudoLabelSettings
from pipelines.stages.predictions import predict
from pipelines.worker import Context
from segkit.core.manifest import read_manifest, write_manifest
from segkit.tasks.weights import read_card


def run(context: Context[PseudoLabelSettings]) -> None:
    """Write `vessels/<name>.png` (16-bit probabilities) and the manifest that joins them with the images."""
    settings = context.settings
    samples = read_manifest(context.inputs["samples"])
    folder = context.out / "vessels"
    predict(context, context.inputs["model"], samples, folder, settings.inference, label="pseudo-labels")
    if context.first_rank:
        threshold = read_card(context.inputs["model"]).threshold
        rows = [replace(row, vessels=folder / f"{row.name}.png", threshold=threshold) for row in samples.rows]
        write_manifest(rows, context.out)
