"""`data`: read a data set, check every file of it, cut the splits, and keep a copy that nothing can change any more."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

from pipelines.execution.worker import Context
from segkit.core.files import atomic_path, write_json
from segkit.core.manifest import Row, Source, Split, write_manifest
from segkit.core.wording import counted_images
from segkit.data import phantom, readers
from segkit.data.readers import Dataset
from segkit.data.settings import DataSettings


def run(context: Context[DataSettings]) -> None:
    """Write `manifest.json` and the images it names."""
    settings = context.settings
    if not context.first_rank:
        return
    dataset = _dataset(settings, context.work)
    checked = readers.check(dataset)
    readers.raise_first_error(checked.findings)
    for warning in checked.findings:
        print(f"warning: {warning.message}")
    shared = _shared_names(dataset)
    chosen = settings.cut(dataset.training_groups, dataset.given_splits)
    rows = [_row(row, chosen, dataset, shared, context.out) for row in dataset.rows]
    write_json(context.out / "checks.json", [report.__dict__ for report in checked.reports])
    write_manifest(rows, context.out, dataset.classes)
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "val", "holdout", "test")}
    labelled = sum(row.reference is not None for row in rows if row.split == "test")
    listed = ", ".join(f"{number} {split}" for split, number in counts.items())
    if dataset.num_groups < len(rows):
        listed = f"{counted_images(len(rows), dataset.num_groups)}, {listed}"
    name = "phantom" if dataset.phantom else dataset.name
    print(f"{name} data set {dataset.digest[:12]}: {listed} ({labelled} of the test images labelled)")


def _dataset(settings: DataSettings, work: Path) -> Dataset:
    assert settings.source is not None
    if settings.source != "phantom":
        return readers.open_dataset(settings.source, settings.group_pattern)
    drawn = settings.phantom
    root = work / "phantom"
    shutil.rmtree(root, ignore_errors=True)
    size = (drawn.num_train, drawn.num_test, drawn.height, drawn.width, drawn.seed)
    if drawn.classes == "multiclass":
        phantom.write_multiclass_dataset(root, *size)
        return replace(readers.open_dataset(f"folder:{root}", settings.group_pattern), phantom=True)
    phantom.write_dataset(root, *size)
    return readers.open_dataset(f"drive:{root}", settings.group_pattern)


def _shared_names(dataset: Dataset) -> set[str]:
    """File names that two files of one kind have, as the slices train/image/0.png and test/image/0.png."""
    kinds: dict[str, set[Path]] = {}
    for row in dataset.rows:
        for kind, source in (("image", row.image), *row.labels.items(), ("region", row.region)):
            if source is not None:
                kinds.setdefault(kind, set()).add(source.path)
    counts = [Counter(path.name for path in paths) for paths in kinds.values()]
    return {name for names in counts for name, number in names.items() if number > 1}


def _row(row: Row, chosen: dict[str, Split], dataset: Dataset, shared: set[str], out: Path) -> Row:
    def copy(source: Source, folder: str) -> Source:
        path = source.path
        parts = path.relative_to(dataset.root).parts if path.name in shared else (path.name,)
        return _copy(source, out / folder / "-".join(parts))

    return replace(
        row,
        split="test" if row.split == "test" else chosen[row.name],
        image=copy(row.image, "images"),
        labels={role: copy(source, role) for role, source in row.labels.items()},
        region=row.region and copy(row.region, "region"),
        origin="phantom" if dataset.phantom else "real",
    )


def _copy(source: Source, target: Path) -> Source:
    if source.frame == 0 or not target.exists():  # the pages of a file share its copy
        with atomic_path(target) as temporary:
            shutil.copyfile(source.path, temporary)
    return source._replace(path=target)
