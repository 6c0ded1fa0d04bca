"""The page: every section that has content, rendered into one self-contained HTML text.

A section is a Python view and a template of the same name in `sections/`, and a line in `SECTIONS`.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipelines.fidelity.text import digits
from pipelines.report.album import Album
from pipelines.report.evidence import Evidence
from pipelines.report.sections import (
    fidelity,
    gan,
    pictures,
    probabilities,
    provenance,
    results,
    training,
    verdict,
)
from pipelines.report.verdict import signed

View = Callable[[Evidence, Album], dict[str, object] | None]

SECTIONS: dict[str, tuple[str, View]] = {
    "results": ("Results", results.view),
    "training": ("Training", training.view),
    "gan": ("Synthetic images", gan.view),
    "fidelity": ("Fidelity of the GAN", fidelity.view),
    "pictures": ("Predictions", pictures.view),
    "probabilities": ("Probabilities", probabilities.view),
    "provenance": ("Settings and provenance", provenance.view),
}
"""By template and anchor: the title and the view. It returns the template's variables, or None to leave it out."""


def render(evidence: Evidence) -> str:
    """The whole report as one HTML text."""
    album = Album()
    head = verdict.view(evidence, album)
    views = {name: view(evidence, album) for name, (_, view) in SECTIONS.items()}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"pictures": album.encode()}
    environment.filters |= {"tied": tied, "fixed": fixed, "digits": digits, "signed": signed, "duration": duration}
    environment.tests["finite"] = math.isfinite

    def rendered(name: str, variables: dict[str, object]) -> Markup:
        return Markup(environment.get_template(f"sections/{name}.html.j2").render(variables))

    return environment.get_template("page.html.j2").render(
        title=evidence.request.report.title,
        head=rendered("verdict", head),
        sections=[(name, SECTIONS[name][0], rendered(name, values)) for name, values in views.items() if values],
    )


def tied(text: str) -> str:
    """The text with no-break spaces in "n = 20" and "95 %"."""
    return re.sub(r"(?<=\d) %| = ", lambda blank: blank.group().replace(" ", "\u00a0"), text)


def fixed(value: float, decimals: int = 4) -> str:
    """A number with a fixed number of decimals."""
    return f"{value:.{decimals}f}"


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
