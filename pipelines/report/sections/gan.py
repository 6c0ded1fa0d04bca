"""The GAN: curves and sample grids of its training, and the samples with their pseudo-labels."""

from collections.abc import Mapping

from markupsafe import Markup

from pipelines.report import charts, curves
from pipelines.report.album import Album, Picture, evenly_spaced, grey
from pipelines.report.charts import LineStyle, Plotted
from pipelines.report.curves import Line
from pipelines.report.evidence import Evidence
from segkit.core import images
from segkit.core.manifest import read_manifest
from segkit.data.fov import read_region
from segkit.data.labels import read_probs
from segkit.tasks.overlay import draw_classes

NUM_GRIDS = 4
"""Sample grids shown of a training, including those before it and at its end."""

SHOWN = "thousands of real images shown (kimg)"

CHARTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Losses", "loss", {"gan/loss_g": "generator", "gan/loss_d": "discriminator"}),
    (
        "Overfitting and augmentation",
        "share",
        {"gan/overfitting": "overfitting r_t = E[sign D(real)]", "gan/ada_p": "augmentation chance"},
    ),
    ("KID of snapshots to the photographs", "KID", {"kid": "KID"}),
    ("Precision and recall of snapshots", "share", {"precision": "precision", "recall": "recall"}),
    ("Copies of photographs in snapshots", "share", {"copy_share": "share of copies"}),
    ("R1 penalty", "penalty", {"gan/r1": "R1"}),
    ("Path length", "length", {"gan/path_length": "path length"}),
)
"""Title, y axis, and label by logged quantity; a quantity that was not logged is left out."""


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """Every GAN and every set of samples; None without any."""
    gans = [
        {"name": name, "charts": _charts(evidence, name), "grids": _grids(evidence, name, album)}
        for name in evidence.of_type("gan")
    ]
    samples = [_samples(evidence, name, album) for name in evidence.of_type("pseudo-label")]
    return {"gans": gans, "samples": samples} if gans or samples else None


def _charts(evidence: Evidence, name: str) -> list[tuple[Markup, dict[str, LineStyle]]]:
    """Charts with their keys; measures of snapshots have bands, their 95 % intervals."""
    measured = [other for other in evidence.of_type("fidelity") if evidence.stages[other].inputs["gan"] == name]
    history = curves.read_gan(evidence.inputs[name], evidence.inputs[measured[0]] if measured else None)
    lines = history.lines if history else {}
    drawn = []
    for title, y_label, labels in CHARTS:
        styles = {label: LineStyle(number) for number, (key, label) in enumerate(labels.items()) if key in lines}
        plotted = [
            Plotted(label, lines[key].x, lines[key].y, styles[label], band=_band(lines, key))
            for key, label in labels.items()
            if key in lines
        ]
        if plotted:
            ends = "; ".join(f"{line.label} ends at {line.y[-1]:.4g}" for line in plotted)
            chart = f"{name}-{next(iter(labels)).removeprefix('gan/')}"
            drawn.append((charts.lines(chart, title, plotted, SHOWN, y_label, description=ends), styles))
    return drawn


def _band(lines: Mapping[str, Line], key: str) -> tuple[list[float], list[float]] | None:
    low, high = (lines.get(f"{key}_{end}", Line()) for end in ("low", "high"))
    return (low.y, high.y) if low.x == high.x == lines[key].x else None


def _grids(evidence: Evidence, name: str, album: Album) -> list[Picture]:
    paths = {path.stem: path for path in sorted((evidence.inputs[name] / "grids").glob("kimg*.png"))}
    shown = []
    for stem in evenly_spaced(list(paths), NUM_GRIDS):
        kimg = float(stem.removeprefix("kimg"))
        caption = f"after {kimg:g} kimg" if kimg else "before training"
        shown.append(album.add(images.read_image(paths[stem]), f"Grid of samples of {name} {caption}", caption))
    return shown


def _samples(evidence: Evidence, name: str, album: Album) -> dict[str, object]:
    """The first samples beside their pseudo-labels."""
    manifest = read_manifest(evidence.inputs[name])
    rows, classes = manifest.rows, manifest.classes
    pairs = []
    for row in rows[: evidence.request.report.num_samples]:
        assert row.target is not None
        photograph = images.read_image(*row.image)
        probs = read_probs(row.target.path, classes) * read_region(row, classes, photograph)
        drawn = grey(probs[0]) if classes.kind == "binary" else draw_classes(photograph, probs.argmax(0), classes)
        image = album.add(photograph, f"Synthetic image {row.name}", row.name, max_side=300)
        pairs.append((image, album.add(drawn, f"Pseudo-label of {row.name}", max_side=300)))
    inputs = evidence.stages[name].inputs
    settings = evidence.stages[inputs["samples"]].record.get("settings", {})
    return {
        "name": name,
        "pairs": pairs,
        "total": len(rows),
        "truncation_psi": settings.get("truncation_psi"),
        "model": inputs["model"],
    }
