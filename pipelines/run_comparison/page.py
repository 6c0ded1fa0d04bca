"""A comparison of runs as one self-contained HTML page with a forest plot for each metric."""

import math
from pathlib import Path

from markupsafe import Markup

from pipelines.report import charts, page
from pipelines.run_comparison import text
from pipelines.run_comparison.compare import RunComparison
from pipelines.run_comparison.finished import FinishedRun
from segkit.core.wording import duration
from segkit.metrics.tables import HEADINGS


def render(comparison: RunComparison) -> str:
    """The page as HTML text."""
    templates = page.environment(Path(__file__).parent, Path(page.__file__).parent)
    outcomes = {item.result for item in comparison.differences}
    return templates.get_template("comparison.html.j2").render(
        comparison=comparison,
        sentences=[text.sentence(item, comparison.baseline.id) for item in comparison.differences],
        style="helped" if outcomes == {"better"} else "worse" if outcomes == {"worse"} else "",
        images=text.images_text(comparison),
        method=text.method_text(comparison),
        plots=_forest_plots(comparison),
        headings=HEADINGS,
        minutes=lambda run: duration(60 * run.minutes),
        link=_link,
        value_text=text.value_text,
        threshold_text=text.threshold_text,
    )


def _forest_plots(comparison: RunComparison) -> list[Markup]:
    """For each metric, the differences that have an interval; a run's label names the class if there are several."""
    plots = []
    for metric in dict.fromkeys(item.metric for item in comparison.differences):
        differences = {
            item.id if len(comparison.classes) == 1 else f"{item.id}, {item.class_name}": item.comparison
            for item in comparison.differences
            if item.metric == metric and math.isfinite(item.comparison.low)
        }
        if differences:
            label = f"Difference in {HEADINGS[metric]} from {comparison.baseline.id}"
            plots.append(charts.intervals(f"forest-{metric.replace('_', '-')}", differences, label))
    return plots


def _link(run: FinishedRun) -> str:
    """Address of the run's report on this machine."""
    return run.report.resolve().as_uri()
