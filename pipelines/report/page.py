"""The page: each section's contents as plain values, rendered by `report.html.j2`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml
from markupsafe import Markup

from pipelines.report import charts, curves, fidelity, pictures, stage_graph
from pipelines.report.charts import Bar, Look, Plotted
from pipelines.report.comparisons import Paired
from pipelines.report.curves import History, Line
from pipelines.report.evidence import ENSEMBLE, TEACHER, Evidence
from pipelines.report.pictures import Album
from pipelines.report.verdict import NOUNS, signed
from pipelines.stages.evaluate import OBSERVER, SPLIT_NOTES
from segkit.core import images
from segkit.core.files import read_json, sha256_json
from segkit.core.manifest import Manifest, Row, read_manifest
from segkit.core.wording import counted
from segkit.data.fov import read_fov
from segkit.metrics.curves import LevelCounts, confusion_at, precision_recall_curve, reliability, roc_curve, thin
from segkit.metrics.score import THRESHOLD_FREE, Measurement, find, image_values, pool
from segkit.metrics.tables import HEADINGS, cell, tabulate

MAIN_METRICS = ("dice", "sensitivity", "specificity", "precision", "cldice", "auroc", "auprc")
"""Columns of the tables that are not folded away."""

NUM_GRIDS = 4
"""Sample grids shown of a GAN's training, the one before it and the last among them."""

NUM_STUDENT_COLOURS = charts.NUM_COLOURS - 2
"""Colours left for students beside the teacher's and the ensemble's."""

GAN_CHARTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Losses", "loss", ("gan/loss_g", "gan/loss_d")),
    ("Overfitting and augmentation", "share", ("gan/overfitting", "gan/ada_p")),
    ("R1 penalty", "penalty", ("gan/r1",)),
    ("Path length", "length", ("gan/path_length",)),
)
"""Title, axis and quantities of a GAN's charts; those that were not logged are left out."""

GAN_NAMES = {
    "gan/loss_g": "generator",
    "gan/loss_d": "discriminator",
    "gan/overfitting": "overfitting r_t = E[sign D(real)]",
    "gan/ada_p": "augmentation chance",
    "gan/r1": "R1",
    "gan/path_length": "path length",
}


@dataclass(frozen=True)
class Picture:
    """A picture with what it shows."""

    number: int
    """In the album."""
    alt: str
    caption: str = ""
    note: str = ""


@dataclass(frozen=True)
class Key:
    """What a line of a chart stands for."""

    label: str
    colour: int
    dashes: str
    width: float


@dataclass(frozen=True)
class ChartGroup:
    """Charts that share their key."""

    charts: list[Markup]
    key: list[Key] = field(default_factory=list)


def render(evidence: Evidence) -> str:
    """The whole report as one HTML text."""
    album = Album()
    report = evidence.request.report
    content: dict[str, Any] = {
        "title": report.title,
        "summary": _summary(evidence),
        "verdict": evidence.verdict,
        "forest": _forest(evidence),
        "splits": [_split(evidence, split) for split in evidence.measured],
        "ensemble": _ensemble(evidence),
        "comparisons": _comparisons(evidence),
        "graph": Markup(_graph(evidence)),
        "stages": _stages(evidence),
        "training": _training(evidence),
        "gans": [_gan(evidence, name) for name in evidence.stages("gan")],
        "samples": [_samples(evidence, name, album) for name in evidence.stages("pseudo-label")],
        "grids": {name: _grids(evidence, name, album) for name in evidence.stages("gan")},
        "fidelity": fidelity.sections(evidence.stages("fidelity"), evidence.inputs, album),
        "overlays": _overlays(evidence, album),
        "unlabelled": _unlabelled(evidence, album),
        "colours": {
            "tp": _css(pictures.TRUE_POSITIVE),
            "fp": _css(pictures.FALSE_POSITIVE),
            "fn": _css(pictures.FALSE_NEGATIVE),
        },
        "probability": _probability(evidence),
        "settings": yaml.safe_dump(evidence.request.pipeline, sort_keys=False, allow_unicode=True, width=100),
        "facts": _facts(evidence),
        "software": _software(evidence),
        "predictions_dir": f"{evidence.inputs['evaluate'].name}/predictions",
        "num_colours": charts.NUM_COLOURS,
    }
    content["pictures"] = album.encode()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tied"] = tied
    return environment.get_template("report.html.j2").render(content) + "\n"


def looks(evidence: Evidence) -> dict[str, Look]:
    """Colour and dash of each run, alike in all charts: a control has its student's colour, dashed."""
    chosen = {TEACHER: Look(0), ENSEMBLE: Look(charts.NUM_COLOURS - 1, wide=True), OBSERVER: Look(0)}
    controls: dict[str, Look] = {}
    for number, student in enumerate(evidence.students):
        cycle, colour = divmod(number, NUM_STUDENT_COLOURS)
        chosen[student] = Look(1 + colour, 2 * (cycle % 2))
        if student in evidence.controls:
            controls.setdefault(evidence.controls[student], Look(1 + colour, 1 + 2 * (cycle % 2)))
    return chosen | controls


def tied(text: str) -> str:
    """The text with blanks that do not break where a line must not end: "n = 20", "95 %"."""
    return re.sub(r"(?<=\d) %| = ", lambda blank: blank.group().replace(" ", "\u00a0"), text)


def duration(seconds: float) -> str:
    """ "0.4 s", "42 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


# the verdict and the tables -------------------------------------------------------------------------------------------


def _summary(evidence: Evidence) -> list[str]:
    rows = evidence.rows
    counts = {split: len(rows.split(split)) for split in ("train", "val", "holdout", "test")}
    names = {"train": "to train on", "val": "to validate on", "holdout": "held out", "test": "to test on"}
    unlabelled = counts["test"] - len(rows.split("test").labelled())
    listed = ", ".join(f"{count} {names[split]}" for split, count in counts.items() if count)
    if unlabelled:
        listed += f" ({'without labels' if unlabelled == counts['test'] else f'{unlabelled} of them without labels'})"
    height, width = images.read_size(rows.rows[0].image)
    kind = "phantoms drawn by a program" if any(row.origin == "phantom" for row in rows.rows) else "fundus images"
    whose = f" of {counted(rows.num_groups, 'patient')}, each" if rows.num_groups < len(rows) else " of"
    return [f"{len(rows)} {kind}{whose} {width} × {height} pixels: {listed}"]


def _forest(evidence: Evidence) -> Markup | None:
    findings = [*evidence.verdict.findings, *([evidence.verdict.ensemble] if evidence.verdict.ensemble else [])]
    if not findings or all(finding.comparison.low != finding.comparison.low for finding in findings):
        return None
    bars = [
        Bar(
            f"{finding.run} − {finding.reference}",
            finding.comparison.difference,
            finding.comparison.low,
            finding.comparison.high,
        )
        for finding in findings
    ]
    described = "; ".join(
        f"{bar.label}: {signed(bar.value)}, from {signed(bar.low)} to {signed(bar.high)}" for bar in bars
    )
    label = "Difference in Dice (right of zero: better)"
    return Markup(
        charts.intervals("forest", bars, label, description=f"Differences in Dice with 95 % intervals. {described}.")
    )


def _split(evidence: Evidence, split: str) -> dict[str, Any]:
    runs = evidence.measured[split]
    dice = [m for found in runs.values() for m in found if m.metric == "dice"]
    return {
        "name": split,
        "note": SPLIT_NOTES[split].partition(": ")[2],
        "noun": NOUNS[split],
        "n": max((m.n for m in dice), default=0),
        **_independent([(m.n, m.num_groups) for m in dice]),
        "observer": OBSERVER in runs,
        "columns": [HEADINGS[metric] for metric in MAIN_METRICS],
        "rows": [_row(name, found) for name, found in runs.items()],
        "tables": [_without_empty_rows(asdict(table)) for table in tabulate(runs)],
    }


def _independent(sizes: Sequence[tuple[int, int]]) -> dict[str, str]:
    """What intervals are over, and words for the number of patients, from numbers of images and of patients."""
    n, num_groups = max(sizes, default=(0, 0))
    if num_groups == n:
        return {"over": "images", "of_patients": ""}
    return {"over": "patients", "of_patients": f" of {counted(num_groups, 'patient')}"}


def _row(name: str, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """A run in the main table: pooled, inside the field of view, at its own threshold."""
    dice = find(measurements, "dice")
    drawn = name == OBSERVER  # a drawn map has no probabilities that could rank pixels
    cells = []
    for metric in MAIN_METRICS:
        source = None if dice is None else dice.threshold_source
        found = None if drawn and metric in THRESHOLD_FREE else find(measurements, metric, threshold_source=source)
        value, _, interval = ("" if found is None else cell(found)).partition(" ")
        cells.append((value, interval))
    threshold = "" if drawn or dice is None or dice.threshold is None else f"{dice.threshold:.3f}"
    return {"name": name, "threshold": threshold, "cells": cells}


def _without_empty_rows(table: dict[str, Any]) -> dict[str, Any]:
    """A run that was not measured at this threshold source has nothing to say in its table."""
    kept = [row for row in table["rows"] if row["Threshold"]]
    return table | {"rows": kept or table["rows"]}


def _ensemble(evidence: Evidence) -> dict[str, Any] | None:
    """How the ensemble was put together, from its `model.json`."""
    folder = evidence.inputs.get(ENSEMBLE)
    if folder is None or not (folder / "model.json").exists():
        return None
    details = read_json(folder / "model.json").get("details", {})
    if "rule" not in details:
        return None
    weights = dict(zip(details["members"], details["weights"], strict=True))
    tried = {rule: found["val_dice"] for rule, found in details.get("candidates", {}).items()}
    return {
        "rule": details["rule"],
        "weights": [(name, f"{weight:.2f}") for name, weight in weights.items()]
        if details["rule"] == "weighted"
        else [],
        "members": list(weights),
        "tried": [(rule, f"{score:.4f}") for rule, score in sorted(tried.items(), key=lambda item: -item[1])],
    }


def _comparisons(evidence: Evidence) -> list[dict[str, Any]]:
    """A table of what the verdict speaks of for each split, then one of the students against the teacher."""
    spoken = {
        (finding.run, finding.reference)
        for finding in (*evidence.verdict.findings, evidence.verdict.ensemble)
        if finding
    }
    tables = []
    for split in evidence.measured:
        here = [paired for paired in evidence.paired if paired.split == split]
        pairs = dict.fromkeys((paired.run_a, paired.run_b) for paired in here)
        for main in (True, False):
            listed = [
                {"a": a, "b": b, "rows": [_difference(each) for each in here if (each.run_a, each.run_b) == (a, b)]}
                for a, b in pairs
                if ((a, b) in spoken) == main
            ]
            title = (
                f"Comparisons on the {NOUNS[split]}" if main else f"Students against the teacher on the {NOUNS[split]}"
            )
            sizes = [(paired.comparison.n, paired.comparison.num_groups) for paired in here]
            tables.append({"title": title, "noun": NOUNS[split], "pairs": listed, **_independent(sizes)})
    return [table for table in tables if table["pairs"]]


def _difference(paired: Paired) -> dict[str, str]:
    found = paired.comparison
    interval = "" if found.low != found.low else f"[{signed(found.low)}, {signed(found.high)}]"
    side = "above zero" if found.low > 0 else "below zero" if found.high < 0 else "around zero" if interval else ""
    return {
        "metric": f"{HEADINGS[found.metric]}, {found.averaging}",
        "difference": signed(found.difference),
        "interval": interval,
        "side": side,
        "better": f"{paired.num_better} of {found.n}",
    }


# the stages -----------------------------------------------------------------------------------------------------------


def _graph(evidence: Evidence) -> str:
    nodes = [
        stage_graph.Node(
            stage["name"],
            " · ".join(filter(None, (_verb(stage), _took(evidence, stage["name"])))),
            tuple(stage["inputs"].values()),
        )
        for stage in evidence.request.graph
    ]
    nodes.append(stage_graph.Node("report", "this page", tuple(node.name for node in nodes)))
    listed = "; ".join(
        f"{node.name} reads {', '.join(stage_graph.reduced({n.name: n.inputs for n in nodes})[node.name]) or 'nothing'}"
        for node in nodes
    )
    return stage_graph.draw(nodes, f"The pipeline's stages from top to bottom. {listed}.")


def _verb(stage: Mapping[str, Any]) -> str:
    return "" if stage["verb"] == stage["name"] else str(stage["verb"])


def _took(evidence: Evidence, name: str) -> str:
    seconds = evidence.records.get(name, {}).get("seconds")
    return "" if seconds is None else duration(seconds)


def _stages(evidence: Evidence) -> list[dict[str, Any]]:
    return [
        {
            "name": stage["name"],
            "verb": stage["verb"],
            "inputs": ", ".join(stage["inputs"].values()),
            "took": _took(evidence, stage["name"]),
            "fingerprint": str(evidence.records.get(stage["name"], {}).get("fingerprint", ""))[:12],
            "finished": str(evidence.records.get(stage["name"], {}).get("finished", ""))[:19].replace("T", " "),
        }
        for stage in evidence.request.graph
    ]


# curves ---------------------------------------------------------------------------------------------------------------


def _key(names: Sequence[str], chosen: Mapping[str, Look]) -> list[Key]:
    return [
        Key(name, look.colour % charts.NUM_COLOURS, charts.DASHES[look.dash % len(charts.DASHES)], look.width)
        for name in names
        for look in [chosen[name]]
    ]


def _training(evidence: Evidence) -> ChartGroup | None:
    chosen = looks(evidence)
    histories = {name: curves.read_phases(evidence.inputs[name]) for name in evidence.stages("train")}
    logged = {name: history for name, history in histories.items() if history is not None}
    drawn = []
    for key, title, log_y in (
        ("train/loss", "Training loss", False),
        ("val/dice", "Validation Dice at threshold 0.5", False),
    ):
        plotted = _plot(logged, key, chosen)
        if plotted:
            described = "; ".join(
                f"{line.label} ends at {line.y[-1]:.4f} after {line.x[-1]:.0f} steps" for line in plotted
            )
            drawn.append(
                charts.lines(
                    f"training-{key.replace('/', '-')}",
                    title,
                    plotted,
                    "training steps, phases joined",
                    key.partition("/")[2],
                    description=described,
                    log_y=log_y,
                )
            )
    return ChartGroup([Markup(chart) for chart in drawn], _key(list(logged), chosen)) if drawn else None


def _plot(logged: Mapping[str, History], key: str, chosen: Mapping[str, Look]) -> list[Plotted]:
    lines = {name: history.lines.get(key, Line()) for name, history in logged.items()}
    return [
        Plotted(name, line.x, line.y, chosen.get(name, Look()), marks=logged[name].later_phases)
        for name, line in lines.items()
        if line.x
    ]


def _gan(evidence: Evidence, name: str) -> dict[str, Any]:
    history = curves.read_gan(evidence.inputs[name])
    groups = []
    for title, axis, keys in GAN_CHARTS if history else ():
        assert history is not None
        present = [key for key in keys if history.lines.get(key, Line()).x]
        if not present:
            continue
        shown = {GAN_NAMES[key]: Look(number) for number, key in enumerate(present)}
        plotted = [
            Plotted(GAN_NAMES[key], history.lines[key].x, history.lines[key].y, shown[GAN_NAMES[key]])
            for key in present
        ]
        described = "; ".join(f"{line.label} ends at {line.y[-1]:.4g}" for line in plotted)
        chart = charts.lines(
            f"{name}-{present[0].partition('/')[2]}",
            title,
            plotted,
            "thousands of real images shown (kimg)",
            axis,
            description=described,
        )
        groups.append(ChartGroup([Markup(chart)], _key(list(shown), shown) if len(shown) > 1 else []))
    return {"name": name, "groups": groups}


# pictures -------------------------------------------------------------------------------------------------------------


def _grids(evidence: Evidence, name: str, album: Album) -> list[Picture]:
    paths = {path.stem: path for path in sorted((evidence.inputs[name] / "grids").glob("kimg*.png"))}
    shown = []
    for stem in pictures.spread(list(paths), NUM_GRIDS):
        kimg = float(stem.removeprefix("kimg"))
        caption = f"after {kimg:g} kimg" if kimg else "before training"
        shown.append(
            Picture(album.add(images.read_image(paths[stem])), f"Grid of samples of {name} {caption}", caption)
        )
    return shown


def _samples(evidence: Evidence, name: str, album: Album) -> dict[str, Any]:
    rows = read_manifest(evidence.inputs[name]).rows
    shown = []
    for row in rows[: evidence.request.report.num_samples]:
        assert row.vessels is not None
        image = Picture(album.add(images.read_image(row.image), 300), f"Synthetic fundus {row.name}", row.name)
        label = Picture(album.add(_inside(row, row.vessels), 300), f"Pseudo-label of {row.name}")
        shown.append((image, label))
    source = next((stage["inputs"].get("samples") for stage in evidence.request.graph if stage["name"] == name), None)
    model = next((stage["inputs"].get("model") for stage in evidence.request.graph if stage["name"] == name), None)
    psi = evidence.records.get(source or "", {}).get("settings", {}).get("truncation_psi")
    return {"name": name, "pairs": shown, "total": len(rows), "psi": psi, "model": model}


def _overlays(evidence: Evidence, album: Album) -> dict[str, Any] | None:
    """Overlays of a few scored images, from the worst to the best by the ensemble's Dice."""
    basis = evidence.verdict.basis
    count = evidence.request.report.num_overlays
    if basis is None or count == 0:
        return None
    judge = ENSEMBLE if ENSEMBLE in evidence.runs else evidence.models[-1]
    each = {name: _dice_by_image(evidence, name) for name in evidence.models if name in evidence.runs}
    ranked = sorted(each[judge], key=lambda image: (each[judge][image], image))
    rows = {row.name: row for row in evidence.rows.split(basis.split).labelled().rows}  # type: ignore[arg-type]
    chosen = [_overlay_row(evidence, rows[image], each, album) for image in pictures.spread(ranked, count)]
    return {
        "judge": judge,
        "noun": basis.noun,
        "worst": ranked[0],
        "best": ranked[-1],
        "worst_dice": f"{each[judge][ranked[0]]:.4f}",
        "best_dice": f"{each[judge][ranked[-1]]:.4f}",
        "total": len(ranked),
        "images": chosen,
    }


def _dice_by_image(evidence: Evidence, name: str) -> dict[str, float]:
    run = evidence.runs[name]
    values = image_values(run.scores, "dice", "fov", run.threshold)
    return {score.name: float(value) for score, value in zip(run.scores, values, strict=True)}


def _overlay_row(evidence: Evidence, row: Row, each: Mapping[str, Mapping[str, float]], album: Album) -> dict[str, Any]:
    assert row.vessels is not None
    image, vessels = images.read_image(row.image), images.read_mask(row.vessels)
    fov = read_fov(row, image)
    shown = [Picture(album.add(image), f"Image {row.name}", "the image")]
    for name, values in each.items():
        probs = images.read_probs(evidence.inputs["evaluate"] / "predictions" / name / "probs" / f"{row.name}.png")
        drawn = pictures.overlay(image, probs >= evidence.runs[name].threshold, vessels, fov)
        score = f"{values[row.name]:.4f}"
        shown.append(
            Picture(album.add(drawn), f"Image {row.name}, overlay of {name}, Dice {score}", name, f"Dice {score}")
        )
    return {"name": row.name, "pictures": shown}


def _unlabelled(evidence: Evidence, album: Album) -> dict[str, Any] | None:
    """Predictions on test images that have no labels, beside the photographs."""
    rows = Manifest(tuple(row for row in evidence.rows.split("test").rows if row.vessels is None)).rows
    count = evidence.request.report.num_overlays
    if not rows or count == 0 or not evidence.models:
        return None
    model = ENSEMBLE if ENSEMBLE in evidence.models else evidence.models[-1]
    shown = []
    for row in rows[:count]:
        path = evidence.inputs["evaluate"] / "predictions" / model / "probs" / f"{row.name}.png"
        image = Picture(album.add(images.read_image(row.image)), f"Test image {row.name}", row.name)
        probs = Picture(album.add(_inside(row, path)), f"Vessel probability of test image {row.name} by the {model}")
        shown.append((image, probs))
    return {"model": model, "pairs": shown, "total": len(rows)}


def _inside(row: Row, path: Path) -> pictures.Pixels:
    """The probabilities in `path` where they count: inside the row's field of view."""
    return pictures.grey(images.read_probs(path) * read_fov(row))


# probabilities --------------------------------------------------------------------------------------------------------


def _probability(evidence: Evidence) -> dict[str, Any] | None:
    """Reliability, ROC and precision-recall of all scored pixels inside the field of view."""
    chosen = looks(evidence)
    names = sorted((name for name in evidence.models if name in evidence.runs), key=lambda name: not chosen[name].wide)
    basis = evidence.verdict.basis
    if basis is None or not names:
        return None
    counts = {name: pool(evidence.runs[name].scores, "fov") for name in names}
    roc = [_curve(name, thin(roc_curve(counts[name]), 200), chosen) for name in names]
    recall = [_curve(name, thin(precision_recall_curve(counts[name]), 200), chosen) for name in names]
    calibrated = [_reliability(name, counts[name], chosen) for name in names]
    observer = OBSERVER in evidence.runs
    if observer:
        at = confusion_at(pool(evidence.runs[OBSERVER].scores, "fov"), evidence.runs[OBSERVER].threshold)
        sensitivity = at.tp / max(at.tp + at.fn, 1)
        roc.append(Plotted(OBSERVER, [at.fp / max(at.fp + at.tn, 1)], [sensitivity], chosen[OBSERVER], marker=True))
        recall.append(Plotted(OBSERVER, [sensitivity], [at.tp / max(at.tp + at.fp, 1)], chosen[OBSERVER], marker=True))
    unit = (-0.02, 1.02)
    shape: dict[str, Any] = {"square": True, "x_range": unit, "y_range": unit}
    axes = {
        "reliability": ("Reliability", calibrated, "mean probability given", "share that are vessels", "ece"),
        "roc": ("ROC", roc, "1 − specificity", "sensitivity", "auroc"),
        "pr": ("Precision and sensitivity", recall, "sensitivity", "precision", "auprc"),
    }
    drawn = [
        charts.lines(
            chart,
            title,
            plotted,
            x,
            y,
            diagonal=chart == "reliability",
            description=_numbers(evidence, metric),
            **shape,
        )
        for chart, (title, plotted, x, y, metric) in axes.items()
    ]
    return {
        "group": ChartGroup([Markup(chart) for chart in drawn], _key(names, chosen)),
        "noun": basis.noun,
        "n": basis.n,
        "observer": observer,
    }


def _curve(name: str, curve: Any, chosen: Mapping[str, Look]) -> Plotted:
    return Plotted(name, curve.x.tolist(), curve.y.tolist(), chosen.get(name, Look()))


def _reliability(name: str, counts: LevelCounts, chosen: Mapping[str, Look]) -> Plotted:
    bins = reliability(counts)
    some = bins.num_pixels > 0
    x, y = bins.sum_probs[some] / bins.num_pixels[some], bins.num_vessel[some] / bins.num_pixels[some]
    return Plotted(name, np.asarray(x).tolist(), np.asarray(y).tolist(), chosen.get(name, Look()))


def _numbers(evidence: Evidence, metric: str) -> str:
    """The metric of every model on the verdict's split, for who cannot see the chart."""
    assert evidence.verdict.basis is not None
    runs = evidence.measured[evidence.verdict.basis.split]
    values = {name: find(runs[name], metric) for name in evidence.models if name in runs}
    return f"{HEADINGS[metric]}: " + ", ".join(
        f"{name} {found.value:.4f}" for name, found in values.items() if found is not None
    )


# how it was made ------------------------------------------------------------------------------------------------------


def _facts(evidence: Evidence) -> list[tuple[str, str]]:
    """Seeds and identity of the data."""
    pipeline, data = evidence.request.pipeline, evidence.records.get("data", {})
    files = {name: entry["sha256"] for name, entry in data.get("outputs", {}).items() if "/" in name}
    seeds = {"run": pipeline.get("runtime", {}).get("seed"), "split": pipeline.get("data", {}).get("split_seed")}
    first, count = (pipeline.get("samples", {}).get(key) for key in ("first_seed", "num_images"))
    listed = [f"{name} {seed}" for name, seed in seeds.items() if seed is not None]
    if first is not None and count is not None:
        listed.append(f"samples {first} to {first + count - 1}")
    splits = [
        (split, [row.name for row in evidence.rows.split(split).rows]) for split in ("train", "val", "holdout", "test")
    ]
    return [
        ("Seeds", ", ".join(listed)),
        ("Data, sha256 over its files' names and contents", data.get("contents", {}).get("data") or sha256_json(files)),
        *((f"Images of split {split}", ", ".join(names)) for split, names in splits if names),
    ]


def _software(evidence: Evidence) -> list[dict[str, str]]:
    """Commit, versions and machine, once for all stages that share them."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for name in (stage["name"] for stage in evidence.request.graph):
        record = evidence.records.get(name)
        if not record:
            continue
        commit = record.get("git_commit") or "not a checkout"
        versions = ", ".join(f"{package} {version}" for package, version in record.get("versions", {}).items())
        machine = record.get("machine", {})
        where = ", ".join(str(machine[key]) for key in ("platform",) if key in machine)
        where += f", {machine['cpus']} CPUs" if "cpus" in machine else ""
        runtime = record.get("runtime", {})
        how = ", ".join(f"{key} {runtime[key]}" for key in ("devices", "strategy") if key in runtime)
        how += f", precision {record['precision']}" if record.get("precision") else ""
        groups.setdefault((commit, versions, where, how), []).append(name)
    return [
        {"stages": ", ".join(names), "commit": commit, "versions": versions, "machine": where, "runtime": how}
        for (commit, versions, where, how), names in groups.items()
    ]


def _css(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{level:02x}" for level in colour)
