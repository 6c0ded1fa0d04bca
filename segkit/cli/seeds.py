"""Seeds on the command line."""

import re

import click

from segkit.core.errors import RequestError
from segkit.core.seeding import LARGEST_SEED as LARGEST_SEED

MAX_SEEDS = 1_000_000
"""Maximum number of seeds; more are probably a mistake."""


def parse_seeds(text: str) -> tuple[int, ...]:
    """Numbers and ranges with both ends, as in 0-99,105,200-210, in the order given.

    Raises:
        ValueError: the text is something else, names no seed, too large a one or too many.
    """
    seeds: list[int] = []
    for part in (piece.strip() for piece in text.split(",")):
        first, last = _ends(part)
        if len(seeds) + last - first + 1 > MAX_SEEDS:
            raise ValueError(f"{text!r} names more than {MAX_SEEDS:,} seeds; use several commands")
        seeds += range(first, last + 1)
    return tuple(seeds)


def _ends(part: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,20})(?:\s*-\s*([0-9]{1,20}))?", part)
    if match is None:
        what = "a seed is not negative" if re.fullmatch(r"-\s*[0-9]+", part) else "no seed or range"
        raise ValueError(f"{part!r}: {what}; give seeds as in 0-99,105,200-210")
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    if last < first:
        raise ValueError(f"{part!r} is reversed; write {last}-{first}")
    if last > LARGEST_SEED:
        raise ValueError(f"{part!r}: the largest seed is {LARGEST_SEED}")
    return first, last


def check_last_seed(first: int, num_images: int) -> None:
    """Refuse successive seeds that exceed the largest one.

    Raises:
        RequestError: they do.
    """
    if first + num_images - 1 > LARGEST_SEED:
        raise RequestError(f"--seed {first} and {num_images} images go beyond the largest seed, {LARGEST_SEED}")


def seeds_callback(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """For `click.option(callback=...)`: the text as seeds."""
    if value is None:
        return None
    try:
        return parse_seeds(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error
