"""`fold`: the data set's training images, cut anew for one fold of a cross-validation; the files are not copied."""

from dataclasses import replace

from pipelines.execution.worker import Context
from pipelines.stage_types import FoldSettings
from segkit.core.errors import DatasetError
from segkit.core.manifest import read_manifest, write_manifest
from segkit.data import splits


def run(context: Context[FoldSettings]) -> None:
    """Write `manifest.json`. All labelled images that are not the data set's own test images take part.

    Raises:
        DatasetError: there are too few images or patients for the folds.
    """
    if not context.first_rank:
        return
    settings = context.settings
    data = read_manifest(context.inputs["data"])
    rows = [row for row in data.labelled().rows if row.split != "test"]
    if not rows:
        raise DatasetError("the data set has no labelled training image to cut into folds; give one that has")
    groups = {row.name: row.group for row in rows}
    chosen = splits.leave_fold_out(groups, settings.num_folds, settings.fold, settings.num_val, settings.split_seed)
    write_manifest([replace(row, split=chosen[row.name]) for row in rows], context.out, data.classes)
    counts = {split: sum(value == split for value in chosen.values()) for split in ("train", "val", "out-of-fold")}
    listed = ", ".join(f"{number} {split}" for split, number in counts.items())
    print(f"fold {settings.fold} of {settings.num_folds}: {listed}")
