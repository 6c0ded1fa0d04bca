"""A click group that imports a command only when it runs."""

from collections.abc import Mapping
from pkgutil import resolve_name

import click
from click.shell_completion import CompletionItem


def lazy_group(table: Mapping[str, tuple[str, str]]) -> type[click.Group]:
    """A kind of group for `click.group(cls=...)`.

    Args:
        table: name of each command -> where it is ("module:attribute") and its summary.
    """

    class LazyGroup(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(table)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            if cmd_name not in table:
                return None
            command: click.Command = resolve_name(table[cmd_name][0])
            return command

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(name, summary) for name, (_, summary) in table.items()])

        def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
            names = [
                CompletionItem(name, help=summary)
                for name, (_, summary) in table.items()
                if name.startswith(incomplete)
            ]
            return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            if args and args[0] not in table and not args[0].startswith("-"):
                import difflib

                close = difflib.get_close_matches(args[0], table, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
            return super().resolve_command(ctx, args)

    return LazyGroup
