"""Seeds as they are typed."""

import pytest

from segkit.cli.seeds import MAX_SEEDS, parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0", (0,)),
        ("3-3", (3,)),
        ("0-3,105,7-8", (0, 1, 2, 3, 105, 7, 8)),
        (" 5 , 1 - 2 ", (5, 1, 2)),
        ("1,5,1", (1, 5, 1)),
        ("4294967295", (2**32 - 1,)),
        ("007", (7,)),
    ],
)
def test_numbers_and_ranges_are_seeds_in_the_order_given(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


def test_as_many_seeds_as_anybody_needs_can_be_given() -> None:
    assert len(parse_seeds(f"1-{MAX_SEEDS}")) == MAX_SEEDS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'': no seed or range; give seeds as in 0-99,105,200-210"),
        ("1,,2", "no seed or range"),
        ("1,", "no seed or range"),
        ("a", "'a': no seed or range"),
        ("1.5", "no seed or range"),
        ("١", "no seed or range"),
        ("-1", "'-1': a seed is not negative"),
        ("0--3", "no seed or range"),
        ("5-3", "'5-3' is reversed; write 3-5"),
        ("4294967296", "the largest seed is 4294967295"),
        ("9" * 50, "no seed or range"),
        (f"0-{MAX_SEEDS}", "more than 1,000,000 seeds"),
        (f"0-{MAX_SEEDS - 1},5", "more than 1,000,000 seeds"),
        ("0-4294967295", "more than 1,000,000 seeds"),
    ],
)
def test_what_names_no_seeds_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_seeds(text)
