"""Overlays and a table of vessel measurements beside the maps of a prediction folder."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from segkit.core import images
from segkit.core.files import as_csv, read_csv, without_nan, write_text
from segkit.core.manifest import Row, Source
from segkit.data.fov import read_region
from segkit.data.labels import read_labels
from segkit.metrics.vessel_statistics import VesselStatistics, vessel_statistics
from segkit.tasks.overlay import draw_classes
from segkit.tasks.prediction_folder import PredictionFolder

OVERLAYS, TABLE = "overlay", "vessels.csv"


def write_overlays(folder: PredictionFolder, rows: Sequence[Row]) -> None:
    """Draw the predicted classes onto each predicted image, as `overlay/<name>.png`."""
    for row in _predicted(folder, rows):
        path = folder.folder / OVERLAYS / f"{row.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        labels = read_labels(Source(folder.maps(row.name)["binary"]), folder.classes)
        images.write_image(path, draw_classes(images.read_image(*row.image), labels, folder.classes))


def write_vessel_table(folder: PredictionFolder, rows: Sequence[Row]) -> None:
    """Write `vessels.csv`: for each predicted image the `VesselStatistics`, nan as an empty cell, and the warnings.

    Rows that earlier commands wrote of other images are kept.
    """
    path, entries = folder.folder / TABLE, folder.read()["images"]
    table: list[Mapping[str, object]] = [*_earlier_rows(folder, path, {row.name for row in rows})]
    for row in _predicted(folder, rows):
        vessels = read_labels(Source(folder.maps(row.name)["binary"]), folder.classes)
        cells = without_nan(vessel_statistics(vessels, read_region(row, folder.classes))._asdict())
        warnings = "; ".join(entries[row.name].get("warnings", ()))
        table.append({"name": row.name} | cells | {"warnings": warnings})
    write_text(path, as_csv(table, ("name", *VesselStatistics._fields, "warnings"), ".6g"))


def _earlier_rows(folder: PredictionFolder, path: Path, names: set[str]) -> Iterator[dict[str, str]]:
    """Rows of an existing table but those of `names`, and of images that were predicted again since."""
    if not path.exists():
        return
    made = path.stat().st_mtime_ns
    for row in read_csv(path):
        binary = folder.maps(row.get("name", ""))["binary"]
        if row.get("name") not in names and binary.exists() and binary.stat().st_mtime_ns <= made:
            yield row


def _predicted(folder: PredictionFolder, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if folder.maps(row.name)["binary"].exists()]
