import pytest

from pipelines.graph import Graph, Stage, fingerprint
from pipelines.verbs import SelectSettings
from segkit.core.errors import RequestError

SETTINGS = SelectSettings()


def stage(name: str, *needs: str) -> Stage:
    return Stage(name, "select", SETTINGS, {need: need for need in needs})


def diamond() -> Graph:
    return Graph([stage("top"), stage("left", "top"), stage("right", "top"), stage("bottom", "left", "right")])


def test_stages_come_in_the_order_given() -> None:
    assert [item.name for item in diamond()] == ["top", "left", "right", "bottom"]
    assert len(diamond()) == 4


def test_a_stage_before_what_it_needs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"late .* needs \['later'\]"):
        Graph([stage("late", "later"), stage("later")])


def test_two_stages_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="twin is given twice"):
        Graph([stage("twin"), stage("twin")])


@pytest.mark.parametrize(
    ("last", "kept"),
    [("top", ["top"]), ("right", ["top", "right"]), ("bottom", ["top", "left", "right", "bottom"])],
)
def test_upto_keeps_a_stage_and_all_it_needs_and_nothing_else(last: str, kept: list[str]) -> None:
    assert [item.name for item in diamond().upto(last)] == kept


def test_an_unknown_stage_is_answered_with_those_there_are() -> None:
    with pytest.raises(RequestError, match="no stage 'middle'; stages are top, left, right, bottom"):
        diamond().upto("middle")


BASE = ("teacher", 1, {"epochs": 2}, {"seed": 0}, {"data": "ab"}, {"data": "cd"})


@pytest.mark.parametrize(
    ("place", "other"),
    [(0, "student"), (1, 2), (2, {"epochs": 3}), (3, {"seed": 1}), (4, {"data": "ac"}), (5, {"data": "ce"})],
)
def test_every_part_of_a_request_counts_in_its_fingerprint(place: int, other: object) -> None:
    changed = [*BASE[:place], other, *BASE[place + 1 :]]
    assert fingerprint(*BASE) != fingerprint(*changed)  # type: ignore[arg-type]


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    one = fingerprint("a", 1, {"x": 1, "y": {"p": 1, "q": 2}}, {}, {}, {"m": "1", "n": "2"})
    assert one == fingerprint("a", 1, {"y": {"q": 2, "p": 1}, "x": 1}, {}, {}, {"n": "2", "m": "1"})
