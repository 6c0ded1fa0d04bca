"""The report's section on the GAN: how good its fundi are, and whether they are copies of photographs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.fidelity import records, words
from pipelines.report.pictures import Album
from segkit.core import images
from segkit.core.files import read_json

SHEET_SIDE = 1600
"""Pixels of the longer side of the sheet of nearest pairs, so that its captions can be read."""


@dataclass(frozen=True)
class Shown:
    """What one stage measured, as the page shows it."""

    name: str
    verdict: list[str]
    """On copies, in sentences."""
    alarming: bool
    """Whether there are copies."""
    basis: list[str] = field(default_factory=list)
    """What counts as one."""
    tables: list[words.Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sheet: int | None = None
    """Number of the picture in the album."""


def sections(names: Sequence[str], inputs: Mapping[str, Path], album: Album) -> list[Shown]:
    """Each stage that measured a GAN, in order."""
    return [_shown(name, inputs[name], album) for name in names]


def _shown(name: str, folder: Path, album: Album) -> Shown:
    found: dict[str, Any] = read_json(folder / records.NUMBERS)
    if "not_measured" in found:
        return Shown(name, [f"Not measured: there are {found['not_measured']}."], alarming=False)
    tables = [words.measures_table(found), words.vessels_table(found)]
    return Shown(
        name,
        words.copy_verdict(found),
        alarming=any(each["copies"]["count"] for key, each in found["sets"].items() if key != "heldout"),
        tables=[table for table in tables if table is not None],
        basis=words.copy_basis(found),
        notes=[*words.vessel_verdict(found), *words.notes(found)],
        sheet=album.add(images.read_image(folder / records.SHEET), SHEET_SIDE),
    )


def caveats(names: Sequence[str], inputs: Mapping[str, Path]) -> tuple[str, ...]:
    """What must be known of the samples before the verdict is quoted: that some are copies."""
    said = []
    for name in names:
        found = read_json(inputs[name] / records.NUMBERS)
        samples = found.get("sets", {}).get("samples")
        if samples is not None and samples["copies"]["count"]:
            copies = samples["copies"]
            where = f" ({name})" if len(names) > 1 else ""
            said.append(
                f"{copies['count']} of the {samples['n']} synthetic fundi{where} "
                f"{words.are_copies_of(copies['count'], 'training photograph')}. "
                "What a student learns from such images it could have learnt from the photographs."
            )
    return tuple(said)
