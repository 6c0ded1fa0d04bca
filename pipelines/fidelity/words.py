"""An assessment as tables and sentences, for the terminal and for the report alike. Works on what its JSON holds."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segkit.core.wording import counted

WIDTH = 110
"""Of a line of words, in characters."""

HEADINGS = {
    "kid": "KID",
    "fid": "FID (biased)",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
WORDS = {
    "area_share": "vessel area",
    "calibre": "calibre",
    "length": "centreline length",
    "branch_points": "branch points",
    "tortuosity": "tortuosity",
}
STATISTICS = {
    "area_share": "vessel area / field of view",
    "calibre": "mean calibre, px",
    "length": "centreline length, px",
    "branch_points": "branch points",
    "tortuosity": "tortuosity",
}


@dataclass(frozen=True)
class Table:
    """Cells of text, the first column being the rows' heads."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float | None) -> str:
    """Three digits that count; "–" for no number."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """ "0.0494 [0.0076, 0.0912]", without brackets where there is no interval."""
    if value is None or low is None or high is None:
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


def measures_table(found: Mapping[str, Any]) -> Table:
    """Distances, shares and copies, a column for each set."""
    sets = list(found["sets"].values())
    rows = [("images", *(f"{each['n']}{_of_patients(each)}" for each in sets))]
    for index, measure in enumerate(HEADINGS):
        cells = [each["measures"][index] for each in sets]
        rows.append((HEADINGS[measure], *(with_interval(m["value"], m["low"], m["high"]) for m in cells)))
    rows.append(("copies", *(f"{each['copies']['count']} of {each['n']}" for each in sets)))
    rows.append(("share of copies", *(_interval_of(each["copies"]) for each in sets)))
    for space in ("structure", "features"):
        cells = [each["copies"][f"nearer_than_heldout_in_{space}"] for each in sets]
        if any(cells):
            rows.append(
                (
                    f"nearer than {'held out' if _learnt_from(found) else 'others'}, {space}",
                    *(_nearness(cell) for cell in cells),
                )
            )
    reference, features = found["reference"], found["features"]
    whose = "the GAN learnt from" if _learnt_from(found) else "of the request, which it may not have learnt from"
    caption = (
        f"Against the {reference['n']} photographs{_of_patients(reference)} {whose} ({reference['name']}); features: "
        f"{features['name']}, {features['dimension']} numbers an image; k = {found['k']}; 95 % intervals"
    )
    return Table(caption, ("", *(each["title"] for each in sets)), tuple(rows))


def vessels_table(found: Mapping[str, Any]) -> Table | None:
    """Means over images of the vessel statistics; None without a teacher."""
    if not found["vessels"]:
        return None
    sets = list(found["sets"].values())
    rows = []
    for index, (statistic, heading) in enumerate(STATISTICS.items()):
        cells = [_interval_of(found["vessels"][statistic], "mean")]
        for each in sets:
            compared = each["vessels"][index]
            star = " *" if compared["finding"] == "differs" else ""
            cells.append(f"{_interval_of(compared['other'], 'mean')}{star}")
        rows.append((heading, *cells))
    learnt_from = " learnt from" if _learnt_from(found) else ""
    patients = _of_patients(found["reference"])
    caption = (
        "Vessels as the teacher sees them: means over images with 95 % intervals; * differs from the "
        f"{found['reference']['n']} photographs{patients}{learnt_from} (permutation test of the Wasserstein distance, "
        f"p at most 0.01, on ten {'patients' if patients else 'images'} or more of each kind)"
    )
    return Table(caption, ("", learnt_from.strip() or "photographs", *(each["title"] for each in sets)), tuple(rows))


def render(table: Table) -> str:
    """The table as plain text."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    lines.insert(1, tuple("-" * width for width in widths))
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*wrapped(table.caption), "", *text])


def wrapped(sentence: str) -> list[str]:
    """Lines of a width that is read with ease."""
    return textwrap.wrap(sentence, WIDTH)


def vessel_verdict(found: Mapping[str, Any]) -> list[str]:
    """What may be said of vessels, in sentences: a claim needs p of at most a fifth of 0.05, and ten images a side."""
    said = []
    for each in found["sets"].values():
        if not each["vessels"]:
            continue
        names = {"differs": [], "too few images": []}  # type: dict[str, list[str]]
        for compared in each["vessels"]:
            names.setdefault(compared["finding"], []).append(WORDS[compared["statistic"]])
        if names["differs"]:
            said.append(f"Vessels differ from the photographs' ({each['title']}): {', '.join(names['differs'])}.")
        elif len(names["too few images"]) == len(each["vessels"]):
            said.append(f"Too few images to say whether vessels differ ({each['title']}).")
        else:
            said.append(f"No difference in vessels was shown ({each['title']}).")
    return said


def copy_verdict(found: Mapping[str, Any]) -> list[str]:
    """How many are copies, a sentence for each set of drawn images."""
    said = []
    whose = "a training photograph" if _learnt_from(found) else "one of these photographs"
    for name, each in found["sets"].items():
        if name == "heldout":
            continue
        copies = each["copies"]
        share = f"{_percent(copies['value'])} (95 % interval {_percent(copies['low'])} to {_percent(copies['high'])})"
        claim = f"{copies['count']} of {counted(each['n'], 'image')} ({each['title']})"
        if copies["count"] == 0:
            said.append(f"None of {counted(each['n'], 'image')} ({each['title']}) is a copy of {whose}: {share}.")
        else:
            verb = "is a copy" if copies["count"] == 1 else "are copies"
            said.append(f"{claim} {verb} of {whose}: {share}.")
    return said


def are_copies_of(count: int, photograph: str) -> str:
    """ "is a copy of a photograph", "are copies of photographs"."""
    return f"is a copy of a {photograph}" if count == 1 else f"are copies of {photograph}s"


def copy_basis(found: Mapping[str, Any]) -> list[str]:
    """What counts as a copy, and how often that is wrong."""
    sets, reference = found["sets"], found["reference"]
    photographs = "training photographs" if _learnt_from(found) else "photographs"
    said = [
        "An image counts as a copy if, whatever is mirrored, shifted, slightly turned or scaled, it is nearer to one "
        f"of the {reference['n']} {photographs} than {found['copy_threshold']:.2f} times its mean distance to "
        "the next ones."
    ]
    if "heldout" in sets:
        alarms = sets["heldout"]["copies"]
        said.append(
            f"Of {_others(found)}, {_as_copies(alarms['count'])}: "
            f"false alarms {_percent(alarms['value'])} ({_percent(alarms['low'])} to {_percent(alarms['high'])})."
        )
    else:
        said.append("There are no other photographs to tell how often the gate is wrong.")
    if found["twins"]["count"]:
        said.append(
            f"{found['twins']['count']} of the {found['twins']['n']} {photographs} would count as copies of one "
            "another; look whether one eye was photographed twice."
        )
    return said


def notes(found: Mapping[str, Any]) -> list[str]:
    """What a reader of the numbers must know, each thing once."""
    said = [
        "KID is unbiased: 0 means equal distributions, and a value below 0 is chance.",
        "FID is biased upwards on so few images: only values of equally many images compare.",
        "Precision is the share of images that lie among the photographs, recall that of photographs that lie among "
        f"the images; each reaches to its neighbour number {found['k']}.",
    ]
    if "heldout" in found["sets"]:
        compared = (
            "Nearer than held out: the chance that an image lies nearer to the training photographs than one the GAN "
            "never saw; 0.5 without copying"
            if _learnt_from(found)
            else "Nearer than others: the chance that an image lies nearer to these photographs than another one does; "
            "0.5 for images that are like the others"
        )
        said.append(
            f"{compared}, 1 if all were copies, 0 if all lie farther off. p is the chance of a value so far from 0.5, "
            "on either side, without any difference."
        )
    missing = {m["note"] for each in found["sets"].values() for m in each["measures"] if m["value"] is None}
    said += [f"Not measured: {note}." for note in sorted(missing)]
    return said + [f"Note: {note}." for note in found.get("notes", [])]


def as_text(found: Mapping[str, Any]) -> str:
    """Tables and sentences for the terminal."""
    tables = [table for table in (measures_table(found), vessels_table(found)) if table is not None]
    sentences = [[*copy_verdict(found), *copy_basis(found)], vessel_verdict(found), notes(found)]
    paragraphs = ["\n".join(line for each in said for line in wrapped(each)) for said in sentences if said]
    return "\n\n".join([*(render(table) for table in tables), *paragraphs])


def curve_table(kimg: Sequence[float], found: Sequence[Mapping[str, Any]]) -> Table:
    """The main numbers of each snapshot."""
    picked = ("kid", "fid", "precision", "recall")
    rows = []
    for clock, each in zip(kimg, found, strict=True):
        drawn = each["sets"]["drawn"]
        values = {m["measure"]: with_interval(m["value"], m["low"], m["high"]) for m in drawn["measures"]}
        rows.append((f"{clock:g}", *(values[name] for name in picked), _interval_of(drawn["copies"])))
    caption = f"Snapshots, {found[0]['sets']['drawn']['n']} images each" if found else "No snapshots"
    return Table(caption, ("kimg", *(HEADINGS[name] for name in picked), "share of copies"), tuple(rows))


def _interval_of(found: Mapping[str, Any], key: str = "value") -> str:
    return with_interval(found[key], found["low"], found["high"])


def _learnt_from(found: Mapping[str, Any]) -> bool:
    """Whether the photographs are those the GAN learnt from; without a word on it they are, as in a pipeline."""
    return bool(found["reference"].get("learnt_from", True))


def _others(found: Mapping[str, Any]) -> str:
    count = found["sets"]["heldout"]["n"]
    if _learnt_from(found):
        return f"{counted(count, 'photograph')} that the GAN never saw"
    return counted(count, "other photograph")


def _as_copies(count: int) -> str:
    return f"{count} would count as {'a copy' if count == 1 else 'copies'}"


def _nearness(found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else f"{found['chance']:.2f}, p {found['p']:.2g}"


def _of_patients(counts: Mapping[str, Any]) -> str:
    """ " of 14 patients" where photographs are of fewer patients; an older record does not hold their number."""
    num_groups = counts.get("num_groups", counts["n"])
    return f" of {counted(num_groups, 'patient')}" if num_groups < counts["n"] else ""


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.3g} %"
