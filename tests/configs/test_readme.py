"""What the README and the pages beside it say can be typed."""

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from segkit.cli.recipes import resolve
from tests.configs.commands import all_commands, blocks, find, mentions, options_of, parse

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
PAGES = [README, REPOSITORY / "third_party" / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
TARGETS = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def test_the_readme_shows_the_commands_a_newcomer_needs() -> None:
    shown = {line.split(" -")[0] for line in blocks(README.read_text(encoding="utf-8"))}
    assert {"make demo", "make test", "segkit doctor", "segkit data check drive:/data/DRIVE"} <= shown


@pytest.mark.parametrize("line", [line for line in blocks(TEXT) if line.startswith("segkit")])
def test_a_command_in_a_block_is_whole_and_its_settings_are_known(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "configs" / "drive-cpu.yaml", "mine.yaml")
    _, params = parse(line)
    if "overrides" in params:
        config, overrides = params["config"], params["overrides"]
        assert config is None or isinstance(config, Path)
        assert isinstance(overrides, tuple)
        recipe = params.get("recipe", params.get("name"))
        resolve(recipe if isinstance(recipe, str) else "synthetic-aug", config, overrides, None)


@pytest.mark.parametrize("line", [line for line in mentions(TEXT) if line.startswith("segkit")])
def test_a_command_that_is_mentioned_exists_with_its_options(line: str) -> None:
    command, rest = find(line)
    assert [word for word in rest if word.startswith("-") and word not in options_of(command)] == []


@pytest.mark.parametrize("line", [line for line in (*blocks(TEXT), *mentions(TEXT)) if line.startswith("make")])
def test_a_target_of_make_exists(line: str) -> None:
    assert {word for word in shlex.split(line)[1:] if "=" not in word} <= TARGETS


def test_every_option_that_is_mentioned_is_one_of_some_command() -> None:
    known = {option for command in all_commands() for option in options_of(command)}
    assert set(re.findall(r"`(--[a-z-]+)", TEXT)) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_file_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [page.parent / name for name in re.findall(r"\]\(([^)#:]+)\)", text)]
    named = re.findall(r"`((?:segkit|gan|pipelines|configs|tests|docs|third_party)(?:/[\w.-]+)+)`", text)
    assert links or named
    assert [path for path in [*links, *(REPOSITORY / name for name in named)] if not path.exists()] == []


@pytest.mark.parametrize(
    "line",
    [
        "segkit nope",
        "segkit pipeline run",
        "segkit predict --tta all photo.jpg",
        "segkit bench --size huge",
        "segkit bench --sze 3",
    ],
)
def test_a_command_that_cannot_be_typed_would_be_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


def test_a_mention_that_names_no_command_would_be_found() -> None:
    with pytest.raises(click.UsageError):
        find("segkit pipeline rnu")
