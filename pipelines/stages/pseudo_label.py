"""`pseudo-label`: the teacher's class probabilities of every synthetic image, kept soft."""

from dataclasses import replace

from pipelines.execution.worker import Context
from pipelines.stage_types import PseudoLabelSettings
from pipelines.stages.predictions import predict
from segkit.core.manifest import Source, read_manifest, write_manifest
from segkit.data.labels import probs_path
from segkit.tasks.weights import read_card


def run(context: Context[PseudoLabelSettings]) -> None:
    """Write `pseudo/<name>` (16-bit probabilities) and the manifest that joins them with the images."""
    settings = context.settings
    samples = read_manifest(context.inputs["samples"])
    folder = context.out / "pseudo"
    predict(context, context.inputs["model"], samples, folder, settings.inference, label="pseudo-labels")
    if context.first_rank:
        card = read_card(context.inputs["model"])
        rows = [
            replace(
                row,
                labels={"pseudo": Source(probs_path(folder, row.name, card.classes))},
                threshold=card.threshold,
            )
            for row in samples.rows
        ]
        write_manifest(rows, context.out, card.classes)
