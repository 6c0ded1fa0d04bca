import random
import re
from xml.etree import ElementTree

import pytest

from pipelines.report import stage_graph
from pipelines.report.stage_graph import NODE_HEIGHT, NODE_WIDTH, Node, draw, reduced

PIPELINE = {
    "data": (),
    "teacher": ("data",),
    "gan": ("data",),
    "samples": ("gan", "data"),
    "pseudo-labels": ("samples", "teacher"),
    "student": ("data", "pseudo-labels"),
    "control": ("data",),
    "ensemble": ("data", "teacher", "student"),
    "evaluate": ("data", "teacher", "student", "control", "ensemble"),
}


def reachable(inputs: dict[str, tuple[str, ...]], start: str) -> set[str]:
    found, waiting = set(), list(inputs[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += inputs[name]
    return found


def random_pipeline(seed: int) -> dict[str, tuple[str, ...]]:
    rng = random.Random(seed)
    names = [f"stage-{number}" for number in range(12)]
    return {name: tuple(rng.sample(names[:index], min(index, rng.randint(1, 4)))) for index, name in enumerate(names)}


def boxes(svg: str) -> dict[str, tuple[float, float]]:
    """Left upper corner of each stage's box."""
    root = ElementTree.fromstring(svg)
    corners = {}
    for group in root.iter("g"):
        rect, text = group.find("rect"), group.find("text")
        assert rect is not None
        assert text is not None
        corners[str(text.text)] = float(rect.get("x", "")), float(rect.get("y", ""))
    return corners


def svg_of(inputs: dict[str, tuple[str, ...]]) -> str:
    return draw([Node(name, "train", direct) for name, direct in inputs.items()], "A pipeline")


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    assert reduced(PIPELINE)["evaluate"] == ("control", "ensemble")
    assert reduced(PIPELINE)["student"] == ("pseudo-labels",)
    assert reduced(PIPELINE)["pseudo-labels"] == ("samples", "teacher")


@pytest.mark.parametrize("seed", range(5))
def test_reduction_keeps_what_each_stage_needs_and_nothing_twice(seed: int) -> None:
    inputs = random_pipeline(seed)
    kept = reduced(inputs)
    for name, direct in kept.items():
        assert reachable(kept, name) == reachable(inputs, name)
        assert not any(other in reachable(inputs, third) for other in direct for third in direct)


@pytest.mark.parametrize("inputs", [PIPELINE, *map(random_pipeline, range(5))])
def test_every_stage_has_a_box_that_touches_no_other(inputs: dict[str, tuple[str, ...]]) -> None:
    corners = boxes(svg_of(inputs))
    assert set(corners) == set(inputs)
    placed = list(corners.values())
    for index, (x, y) in enumerate(placed):
        for other_x, other_y in placed[:index]:
            assert abs(x - other_x) >= NODE_WIDTH or abs(y - other_y) >= NODE_HEIGHT


@pytest.mark.parametrize("inputs", [PIPELINE, *map(random_pipeline, range(5))])
def test_a_stage_stands_below_what_it_reads_and_every_arrow_is_drawn(inputs: dict[str, tuple[str, ...]]) -> None:
    svg = svg_of(inputs)
    corners = boxes(svg)
    for name, direct in inputs.items():
        assert all(corners[name][1] > corners[other][1] for other in direct)
    assert svg.count('class="arrow"') == sum(map(len, reduced(inputs).values()))


@pytest.mark.parametrize("inputs", [PIPELINE, *map(random_pipeline, range(5))])
def test_a_long_arrow_passes_between_the_boxes(inputs: dict[str, tuple[str, ...]]) -> None:
    svg = svg_of(inputs)
    corners = boxes(svg)
    for path in re.findall(r'class="arrow" d="([^"]+)"', svg):
        for straight in re.finditer(r"([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)", path):
            x, top, _, bottom = map(float, straight.groups())
            for left, y in corners.values():
                beside = x <= left or x >= left + NODE_WIDTH
                assert beside or bottom <= y or top >= y + NODE_HEIGHT


def test_a_chain_is_a_straight_line() -> None:
    corners = boxes(svg_of({"a": (), "b": ("a",), "c": ("b",)}))
    assert len({x for x, _ in corners.values()}) == 1


def test_places_move_no_further_than_they_must() -> None:
    room = NODE_WIDTH + stage_graph.GAP
    assert stage_graph._apart(["a", "b"], [0.0, 1000.0]) == [0.0, 1000.0]
    assert stage_graph._apart(["a", "b"], [0.0, 0.0]) == [-room / 2, room / 2]
    assert stage_graph._apart(["a", "b", "c"], [5.0, 5.0, 5.0]) == [5.0 - room, 5.0, 5.0 + room]


def test_names_and_notes_are_escaped() -> None:
    svg = draw([Node("a<b", "x & y", ())], 'said "so"')
    ElementTree.fromstring(svg)
    assert "a&lt;b" in svg
