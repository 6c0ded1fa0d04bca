"""`data`: read a data set, check every file of it, cut the splits, and keep a copy that nothing can change any more."""

import shutil
from dataclasses import replace
from pathlib import Path

from pipelines.worker import Context
from segkit.core.errors import DatasetError
from segkit.core.files import atomic_path, write_json
from segkit.core.manifest import Row, Source, Split, write_manifest
from segkit.core.names import check_unique
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
    _check_file_names(dataset)
    chosen = settings.cut(dataset.training_groups, dataset.given_splits)
    rows = [_row(row, chosen, dataset, context.out) for row in dataset.rows]
    write_json(context.out / "checks.json", [report.__dict__ for report in checked.reports])
    write_manifest(rows, context.out, dataset.classes)
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "val", "holdout", "test")}
    labelled = sum(row.reference is not None for row in rows if row.split == "test")
    listed = ", ".join(f"{number} {split}" for split, number in counts.items())
    if dataset.num_groups < len(rows):
        listed = f"{counted_images(len(rows), dataset.num_groups)}, {listed}"
    print(f"{dataset.name} data set {dataset.digest[:12]}: {listed} ({labelled} of the test images labelled)")


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


def _check_file_names(dataset: Dataset) -> None:
    """Raise DatasetError if two files of one kind have one name: their copies lie in one folder."""
    kinds: dict[str, set[Path]] = {}
    for row in dataset.rows:
        for kind, source in (("image", row.image), *row.labels.items(), ("region", row.region)):
            if source is not None:
                kinds.setdefault(kind, set()).add(source.path)
    for kind, paths in kinds.items():
        check_unique((path.name for path in paths), DatasetError, f"{kind} files")


def _row(row: Row, chosen: dict[str, Split], dataset: Dataset, out: Path) -> Row:
    return replace(
        row,
        split="test" if row.split == "test" else chosen[row.name],
        image=_copy(row.image, out / "images"),
        labels={role: _copy(source, out / role) for role, source in row.labels.items()},
        region=row.region and _copy(row.region, out / "region"),
        origin="phantom" if dataset.phantom else "real",
    )


def _copy(source: Source, folder: Path) -> Source:
    target = folder / source.path.name
    if source.frame == 0 or not target.exists():  # the pages of a file share its copy
        with atomic_path(target) as temporary:
            shutil.copyfile(source.path, temporary)
    return source._replace(path=target)
