"""Commands in a text, parsed as the shell and the command line would, and not run."""

import re
import shlex
from collections.abc import Iterator

import click

from segkit.cli import cli


def blocks(text: str) -> Iterator[str]:
    """Lines of indented blocks that begin with a command of ours, without shell comments and redirections."""
    for line in text.splitlines():
        if re.match(r"(    |\t)(segkit|make|pip|python)( |$)", line):
            yield re.split(r" #| > ", line)[0].strip()


def mentions(text: str) -> Iterator[str]:
    """Commands of ours in running text, between backticks."""
    for quoted in re.findall(r"`([^`]+)`", text):
        if quoted.startswith(("segkit ", "make ")):
            yield " ".join(quoted.split())


def comments(text: str) -> Iterator[str]:
    """Commands in the comments at the head of a settings file."""
    for line in text.splitlines():
        if re.match(r"#\s+segkit ", line):
            yield line.lstrip("# ").strip()


def parse(line: str) -> tuple[list[str], dict[str, object]]:
    """The names of the command and its parameters.

    Raises:
        click.UsageError: there is no such command, or an argument of it is wrong or missing.
    """
    program, *args = shlex.split(line)
    assert program == "segkit"
    context = cli.make_context("segkit", args)
    names = []
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest and context.command.invoke_without_command:
            break
        name, command, rest = context.command.resolve_command(context, rest)
        assert name is not None
        assert command is not None
        names.append(name)
        context = command.make_context(name, rest, parent=context)
    return names, context.params


def find(line: str) -> tuple[click.Command, list[str]]:
    """The command that a mention names, and what it says after the names.

    Raises:
        click.UsageError: there is no such command.
    """
    _, *rest = shlex.split(line)
    command: click.Command = cli
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-") and rest[0] != "...":
        context = click.Context(command)
        _, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
    return command, rest


def options_of(command: click.Command) -> set[str]:
    """Every option of a command, `--help` among them."""
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help",
        "-h",
    }


def all_commands(command: click.Command = cli) -> Iterator[click.Command]:
    """Every command below this one, itself included."""
    yield from command_paths(command).values()


def command_paths(command: click.Command = cli, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """Every command below this one, itself included, by the names that lead to it."""
    paths = {path: command}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            paths |= command_paths(below, (*path, name))
    return paths
