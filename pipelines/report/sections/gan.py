"""The GAN: curves and sample grids of its training, and the samples with their pseudo-labels."""

from dataclasses import dataclass

from pipelines.report import charts, curves
from pipelines.report.album import Album, Picture, evenly_spaced, grey
from pipelines.report.charts import ChartGroup, LineStyle, Plotted
from pipelines.report.evidence import Evidence
from segkit.core import images
from segkit.core.manifest import read_manifest
from segkit.data.fov import read_fov

NUM_GRIDS = 4
"""Sample grids shown of a training, including those before it and at its end."""

CHARTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Losses", "loss", {"gan/loss_g": "generator", "gan/loss_d": "discriminator"}),
    (
        "Overfitting and augmentation",
        "share",
        {"gan/overfitting": "overfitting r_t = E[sign D(real)]", "gan/ada_p": "augmentation chance"},
    ),
    ("R1 penalty", "penalty", {"gan/r1": "R1"}),
    ("Path length", "length", {"gan/path_length": "path length"}),
)
"""Title, y axis, and label by logged quantity; a quantity that was not logged is left out."""


@dataclass(frozen=True)
class Gan:
    """The training of one GAN."""

    name: str
    charts: list[ChartGroup]
    grids: list[Picture]


@dataclass(frozen=True)
class Samples:
    """Samples beside their pseudo-labels."""

    name: str
    pairs: list[tuple[Picture, Picture]]
    total: int
    truncation_psi: float | None
    model: str
    """That gave the pseudo-labels."""


@dataclass(frozen=True)
class View:
    """Values of the template."""

    gans: list[Gan]
    samples: list[Samples]


def view(evidence: Evidence, album: Album) -> View | None:
    """Every GAN and every set of samples; None without any."""
    gans = [Gan(name, _charts(evidence, name), _grids(evidence, name, album)) for name in evidence.of_kind("gan")]
    samples = [_samples(evidence, name, album) for name in evidence.of_kind("pseudo-label")]
    shown = View([gan for gan in gans if gan.charts or gan.grids], [part for part in samples if part.pairs])
    return shown if shown.gans or shown.samples else None


def _charts(evidence: Evidence, name: str) -> list[ChartGroup]:
    history = curves.read_gan(evidence.inputs[name])
    groups = []
    for title, y_label, labels in CHARTS if history else ():
        assert history is not None
        logged = {label: history.lines[key] for key, label in labels.items() if key in history.lines}
        styles = {label: LineStyle(number) for number, label in enumerate(logged)}
        plotted = [Plotted(label, line.x, line.y, styles[label]) for label, line in logged.items()]
        if plotted:
            listed = "; ".join(f"{line.label} ends at {line.y[-1]:.4g}" for line in plotted)
            first = next(key for key in labels if key in history.lines).partition("/")[2]
            kimg = "thousands of real images shown (kimg)"
            chart = charts.lines(f"{name}-{first}", title, plotted, kimg, y_label, description=listed)
            groups.append(ChartGroup([chart], styles if len(styles) > 1 else {}))
    return groups


def _grids(evidence: Evidence, name: str, album: Album) -> list[Picture]:
    paths = {path.stem: path for path in sorted((evidence.inputs[name] / "grids").glob("kimg*.png"))}
    shown = []
    for stem in evenly_spaced(list(paths), NUM_GRIDS):
        kimg = float(stem.removeprefix("kimg"))
        caption = f"after {kimg:g} kimg" if kimg else "before training"
        shown.append(album.add(images.read_image(paths[stem]), f"Grid of samples of {name} {caption}", caption))
    return shown


def _samples(evidence: Evidence, name: str, album: Album) -> Samples:
    rows = read_manifest(evidence.inputs[name]).rows
    pairs = []
    for row in rows[: evidence.request.report.num_samples]:
        assert row.vessels is not None
        probs = grey(images.read_probs(row.vessels) * read_fov(row))
        image = album.add(images.read_image(row.image), f"Synthetic image {row.name}", row.name, max_side=300)
        pairs.append((image, album.add(probs, f"Pseudo-label of {row.name}", max_side=300)))
    inputs = evidence.stages[name].inputs
    source = evidence.stages.get(inputs.get("samples", ""))
    psi = source.record.get("settings", {}).get("truncation_psi") if source else None
    return Samples(name, pairs, len(rows), psi, inputs.get("model", evidence.roles.baseline))
