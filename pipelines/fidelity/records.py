"""An assessment on disk: every number as JSON and as text, each image's nearest photograph as CSV, and pictures."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.fidelity import pictures, words
from pipelines.fidelity.assessment import Assessment, as_json
from segkit.core.files import write_json, write_text
from segkit.core.images import write_image

NUMBERS, TABLE, TEXT = "fidelity.json", "fidelity.csv", "fidelity.txt"
NEAREST, SHEET = "nearest.csv", "nearest.png"
SNAPSHOTS, SNAPSHOTS_CHART = "snapshots.csv", "snapshots.png"

FILES = (NUMBERS, TABLE, TEXT, NEAREST, SHEET, SNAPSHOTS, SNAPSHOTS_CHART)
"""Every file that an assessment may have."""


def clear(out: Path) -> None:
    """Remove an earlier assessment's files and nothing else, so that none is taken for one of the next."""
    for name in FILES:
        (out / name).unlink(missing_ok=True)


@contextmanager
def replaced(out: Path) -> Iterator[None]:
    """For writing in place of an earlier assessment; what fails leaves none, as half of one could be taken for one."""
    clear(out)
    try:
        yield
    except BaseException:
        clear(out)
        raise


def write(out: Path, assessment: Assessment) -> None:
    """Write `fidelity.json`, `fidelity.csv`, `fidelity.txt` and `nearest.csv`."""
    found = as_json(assessment)
    write_json(out / NUMBERS, found)
    write_text(out / TABLE, _csv(_numbers(found)))
    write_text(out / TEXT, words.as_text(found) + "\n")
    rows = [
        {
            "set": each.name,
            "image": pair.name,
            "nearest": pair.nearest,
            "closeness": f"{pair.closeness:.4f}",
            "copy": int(pair.closeness < assessment.threshold),
            "distance": f"{pair.distance:.4f}",
            "transform": pair.transform,
            "down": pair.shift[0],
            "right": pair.shift[1],
        }
        for each in assessment.sets
        for pair in each.copies.pairs
    ]
    write_text(out / NEAREST, _csv(rows))


def _numbers(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each number under the key it is logged by."""
    rows = []
    for name, each in found["sets"].items():
        copies = each["copies"]
        share = {**copies, "measure": "copy_share", "num_real": found["reference"]["n"], "num_drawn": each["n"]}
        for measured in (*each["measures"], share):
            columns = ("measure", "value", "low", "high", "num_real", "num_drawn")
            rows.append({"key": f"{name}/{measured['key']}", **{column: measured[column] for column in columns}})
    return rows


def write_sheet(out: Path, sheet: npt.NDArray[np.uint8]) -> None:
    """Write `nearest.png`."""
    write_image(out / SHEET, sheet)


def write_snapshots(out: Path, kimg: Sequence[float], assessments: Sequence[Assessment]) -> None:
    """Write `snapshots.csv` and its chart: the main numbers of each snapshot."""
    found = [as_json(each) for each in assessments]
    rows = []
    for clock, each in zip(kimg, found, strict=True):
        drawn = each["sets"]["drawn"]
        row: dict[str, Any] = {"kimg": f"{clock:g}", "num_real": each["reference"]["n"], "num_drawn": drawn["n"]}
        for measured in drawn["measures"]:
            row[measured["measure"]] = measured["value"]
            if measured["measure"] == "kid":
                row |= {"kid_low": measured["low"], "kid_high": measured["high"]}
        row |= {"copy_share": drawn["copies"]["value"], "copies": drawn["copies"]["count"]}
        rows.append(row)
    write_text(out / SNAPSHOTS, _csv(rows))
    pictures.write_curves(out / SNAPSHOTS_CHART, kimg, found)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
