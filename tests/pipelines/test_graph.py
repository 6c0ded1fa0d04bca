import pytest

from pipelines.graph import Graph
from pipelines.stage import Stage
from pipelines.stage_types import SELECT, SelectSettings
from segkit.core.errors import RequestError

SETTINGS = SelectSettings()


def stage(name: str, *needs: str) -> Stage[SelectSettings]:
    return Stage(name, SELECT, SETTINGS, {need: need for need in needs})


def diamond() -> Graph:
    return Graph([stage("top"), stage("left", "top"), stage("right", "top"), stage("bottom", "left", "right")])


def test_stages_come_in_the_order_given() -> None:
    assert [item.name for item in diamond()] == ["top", "left", "right", "bottom"]
    assert len(diamond()) == 4


def test_a_stage_before_what_it_needs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"late .* needs \['later'\]"):
        Graph([stage("late", "later"), stage("later")])


def test_two_stages_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="twin"):
        Graph([stage("twin"), stage("twin")])


@pytest.mark.parametrize(
    ("last", "kept"),
    [("top", ["top"]), ("right", ["top", "right"]), ("bottom", ["top", "left", "right", "bottom"])],
)
def test_upto_keeps_a_stage_and_all_it_needs_and_nothing_else(last: str, kept: list[str]) -> None:
    assert [item.name for item in diamond().upto(last)] == kept


def test_an_unknown_stage_is_answered_with_those_there_are() -> None:
    with pytest.raises(RequestError, match="top, left, right, bottom"):
        diamond().upto("middle")


def test_the_first_stage_of_a_type_is_that_of_the_order_given() -> None:
    assert diamond().first_of("select").name == "top"
    with pytest.raises(RequestError, match="'gan'"):
        diamond().first_of("gan")
