"""The page: every section that has content, rendered into one self-contained HTML text.

A section is a Python view and a template of the same name in `sections/`, and a line in `SECTIONS`.
"""

import math
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipelines.fidelity.text import digits
from pipelines.report.album import Album
from pipelines.report.evidence import Evidence
from pipelines.report.verdict import signed
from segkit.core.wording import duration

SECTIONS = {
    "models": "Networks",
    "results": "Results",
    "images": "Every image",
    "training": "Training",
    "gan": "Synthetic images",
    "fidelity": "Fidelity of the GAN",
    "pictures": "Predictions",
    "inspector": "Inspector",
    "probabilities": "Probabilities",
    "provenance": "Settings and provenance",
}
"""Titles by name: of the module and the template in `sections/`, and the anchor on the page."""


def render(evidence: Evidence) -> str:
    """The whole report as one HTML text."""
    album = Album()
    names = {"verdict": "", **SECTIONS}
    views = {name: import_module(f"pipelines.report.sections.{name}").view(evidence, album) for name in names}
    templates = environment(Path(__file__).parent)
    templates.globals |= {"pictures": album.encode(), "region": evidence.region}
    return fill(templates, evidence.request.report.title, views, names)


def fill(
    templates: jinja2.Environment,
    title: str,
    views: Mapping[str, Mapping[str, object] | None],
    titles: Mapping[str, str],
) -> str:
    """The page with the template `sections/<name>.html.j2` of each view; a section without variables is left out.

    Args:
        views: variables by section.
        titles: headings by section, in order; the first section is the head of the page.
    """
    bodies = {
        name: Markup(templates.get_template(f"sections/{name}.html.j2").render(variables))
        for name in titles
        if (variables := views[name]) is not None
    }
    head, *names = bodies
    sections = [(name, titles[name], bodies[name]) for name in names]
    return templates.get_template("page.html.j2").render(title=title, head=bodies[head], sections=sections)


def environment(*folders: Path) -> jinja2.Environment:
    """Jinja2 with the page's filters; templates are read from the first folder that has them."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"tied": tied, "fixed": fixed, "digits": digits, "signed": signed, "duration": duration}
    made.tests["finite"] = math.isfinite
    return made


def tied(text: str) -> str:
    """The text with no-break spaces in "n = 20" and "95 %"."""
    return re.sub(r"(?<=\d) %| = ", lambda blank: blank.group().replace(" ", "\u00a0"), text)


def fixed(value: float, decimals: int = 4) -> str:
    """A number with a fixed number of decimals."""
    return f"{value:.{decimals}f}"
