"""Overlays and a table of vessel measurements beside the maps of a prediction folder."""

from collections.abc import Sequence

from segkit.core import images
from segkit.core.files import as_csv, without_nan, write_text
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
    """Write `vessels.csv`: for each predicted image the `VesselStatistics`, nan as an empty cell, and the warnings."""
    table, entries = [], folder.read()["images"]
    for row in _predicted(folder, rows):
        vessels = read_labels(Source(folder.maps(row.name)["binary"]), folder.classes)
        cells = without_nan(vessel_statistics(vessels, read_region(row, folder.classes))._asdict())
        warnings = "; ".join(entries[row.name].get("warnings", ()))
        table.append({"name": row.name} | cells | {"warnings": warnings})
    write_text(folder.folder / TABLE, as_csv(table, ("name", *VesselStatistics._fields, "warnings"), ".6g"))


def _predicted(folder: PredictionFolder, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if folder.maps(row.name)["binary"].exists()]
