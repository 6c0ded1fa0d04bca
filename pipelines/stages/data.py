"""`data`: read a data set, check every file of it, cut the splits, and keep a copy that nothing can change any more."""

import shutil
from pathlib import Path

from pipelines.context import Context
from segkit.core.files import atomic_path, write_json
from segkit.core.manifest import Row, Split, write_manifest
from segkit.core.wording import counted_images
from segkit.data import phantom, readers
from segkit.data.readers import Dataset, Item
from segkit.data.settings import DataSettings


def run(context: Context) -> None:
    """Write `manifest.json` and the images it names."""
    settings: DataSettings = context.settings
    if not context.first_rank:
        return
    dataset = _dataset(settings, context.work)
    checked = readers.check(dataset)
    readers.refuse(checked.findings)
    for warning in checked.findings:
        print(f"warning: {warning.message}")
    chosen = settings.cut(dataset.training_groups)
    rows = [_row(item, chosen, dataset, context.out) for item in dataset.items]
    write_json(context.out / "checks.json", [report.__dict__ for report in checked.reports])
    write_manifest(rows, context.out)
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "val", "holdout", "test")}
    labelled = sum(row.vessels is not None for row in rows if row.split == "test")
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
    phantom.write_dataset(root, drawn.num_train, drawn.num_test, drawn.height, drawn.width, drawn.seed)
    return readers.open_dataset(f"drive:{root}", settings.group_pattern)


def _row(item: Item, chosen: dict[str, Split], dataset: Dataset, out: Path) -> Row:
    return Row(
        name=item.name,
        split=chosen[item.name] if item.part == "training" else "test",
        image=_copy(item.image, out / "images"),
        vessels=item.vessels and _copy(item.vessels, out / "vessels"),
        fov=item.fov and _copy(item.fov, out / "fov"),
        observer2=item.observer2 and _copy(item.observer2, out / "observer2"),
        origin="phantom" if dataset.phantom else "real",
        group=item.group,
    )


def _copy(source: Path, folder: Path) -> Path:
    target = folder / source.name
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
    return target
