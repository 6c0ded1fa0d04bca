"""`select`: the best model on validation, as the next round's teacher."""

from pipelines.execution.worker import Context
from pipelines.stage_types import SelectSettings
from segkit.core.files import write_json
from segkit.tasks.weights import copy_model, read_card


def run(context: Context[SelectSettings]) -> None:
    """Copy the model with the best validation Dice; the first one named wins a tie."""
    if not context.first_rank:
        return
    scores = {name: read_card(folder).val_dice or 0.0 for name, folder in context.inputs.items()}
    chosen = max(scores, key=lambda name: scores[name])
    copy_model(context.inputs[chosen], context.out)
    write_json(context.out / "selection.json", {"chosen": chosen, "val_dice": scores})
    print(f"{context.name}: {chosen}, validation Dice {scores[chosen]:.4f}")
