import re
from xml.etree import ElementTree

import pytest

from pipelines.report import charts
from pipelines.report.charts import LineStyle, Plotted
from pipelines.results.measurements import OBSERVER
from pipelines.stage_types import Roles
from segkit.metrics.significance import PairedDifference


def chart(name: str = "one", **more: object) -> str:
    plotted = [
        Plotted("a", [0, 1, 2], [0.1, 0.2, 0.4], LineStyle(0)),
        Plotted("b", [0, 1, 2], [0.3, 0.2, 0.1], LineStyle(1, dash=1)),
        Plotted("c", [1], [0.2], LineStyle(2), marker=True),
    ]
    return charts.lines(name, "Loss", plotted, "steps", "loss", description='a < b & "c"', **more)  # type: ignore[arg-type]


def ids(svg: str) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', svg))


def test_a_chart_is_well_formed_and_says_what_it_shows() -> None:
    root = ElementTree.fromstring(chart())
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'Loss. a < b & "c"'
    assert root.get("width") is None  # the page decides


def test_colours_are_the_pages() -> None:
    svg = chart(diagonal=True, unit_square=True)
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", svg))
    assert {"ink", "muted", "rule", "series-0", "series-1", "series-2", "sans"} <= used
    assert "#0a00" not in svg
    assert "#0b00" not in svg


def test_two_charts_share_no_id_and_refer_to_their_own() -> None:
    first, second = chart("first"), chart("second")
    assert ids(first)
    assert not ids(first) & ids(second)
    for svg in (first, second):
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) <= ids(svg)


def test_the_same_data_give_the_same_chart() -> None:
    assert chart() == chart()


def test_text_stays_text_and_nothing_is_loaded() -> None:
    svg = chart()
    assert "Loss</text>" in svg
    assert not re.search(r'(?:href|src)="(?!#)', svg)


def test_a_dashed_style_is_drawn_dashed() -> None:
    dashed = [style for style in re.findall(r'style="([^"]+)"', chart()) if "stroke-dasharray" in style]
    assert any("var(--series-1)" in style for style in dashed)
    assert not any("var(--series-0)" in style for style in dashed)


def test_a_control_has_the_colour_of_its_treated_model_dashed() -> None:
    roles = Roles(baseline="a", treated=("b", "c"), controls={"b": "b0", "c": "c0"}, ensemble="e")
    styles = charts.run_styles(roles)
    assert len({styles[name].colour for name in ("a", "b", "c", "e")}) == 4
    for treated, control in roles.controls.items():
        assert styles[control].colour == styles[treated].colour
        assert (styles[treated].dash, styles[control].dash) == (0, 1)
    assert styles["e"].wide


def test_a_run_with_one_model_has_its_style_and_the_observers() -> None:
    assert set(charts.run_styles(Roles(baseline="model"))) == {"model", OBSERVER}


def test_a_mark_lies_on_its_line() -> None:
    def places(marks: list[float]) -> list[tuple[float, float]]:
        svg = charts.lines("one", "", [Plotted("a", [0, 2], [0, 4], marks=marks)], "", "", description="")
        return [(float(x), float(y)) for x, y in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*series-0', svg)]

    (left, low), (middle, half), (right, high) = places([0, 1, 2])[-3:]
    assert middle == pytest.approx((left + right) / 2, abs=0.01)
    assert half == pytest.approx((low + high) / 2, abs=0.01)
    assert high < low  # y points down


def test_intervals_name_each_bar_and_survive_an_absent_interval() -> None:
    nan = float("nan")
    given = {"a − b": (0.1, 0.05, 0.15), "c − d": (-0.1, nan, nan), "e − f": (0.0, 0.0, 0.0)}
    differences = {label: PairedDifference(*numbers, 20, 20, 0.5) for label, numbers in given.items()}
    svg = charts.intervals("forest", differences, "difference")
    ElementTree.fromstring(svg)
    assert all(f"{label}</text>" in svg for label in differences)
