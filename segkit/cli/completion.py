"""Completion of names in the shell: recipes, settings files, stages, runs and models. Nothing here loads torch."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import click
from click.shell_completion import CompletionItem

from segkit.core.errors import SegkitError

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
DEFAULT_RUNS = Path("runs")


def _items(names: Iterable[str], incomplete: str, *, or_path: bool = False) -> list[CompletionItem]:
    """The names that begin like this; with `or_path`, files where there are none."""
    path = [CompletionItem(incomplete, type="file")] if or_path else []
    return [*path, *(CompletionItem(name) for name in names if name.startswith(incomplete))]


def recipes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of recipes."""
    from pipelines.recipes import RECIPES

    return [CompletionItem(name, help=one.summary) for name, one in RECIPES.items() if name.startswith(incomplete)]


def configs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of shipped settings files, or paths."""
    from segkit.cli.recipes import shipped_configs

    return _items(shipped_configs(), incomplete, or_path=True)


def stages(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the recipe's stages, with the settings that are typed already."""
    from segkit.cli.recipes import resolve

    # click leaves arguments unparsed when the last option has no value yet
    recipe = ctx.params.get("recipe") or ctx.params.get("name") or next(iter(ctx.args), None)
    with suppress(SegkitError):
        graph = resolve(str(recipe), ctx.params.get("config"), ctx.params.get("overrides") or (), None).graph
        return _items((stage.name for stage in graph), incomplete)
    return []


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of finished pipelines."""
    from pipelines.results.names import run_names

    return _items(run_names(ctx.params.get("runs") or DEFAULT_RUNS), incomplete, or_path=True)


def models(kind: Literal["network", "gan"]) -> Complete:
    """Names for `--weights`, or paths."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from pipelines.results.model_names import names_in
        from segkit.weights import shipped_models

        shipped = shipped_models() if kind == "network" else ()
        return _items([*shipped, *names_in(ctx.params.get("runs") or DEFAULT_RUNS, kind)], incomplete, or_path=True)

    return complete


def networks_and_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of networks and of shipped models, or paths."""
    from segkit.models.settings import MODELS
    from segkit.weights import shipped_models

    networks = (kind.model_fields["name"].default for kind in MODELS)
    return _items([*networks, *shipped_models()], incomplete, or_path=True)


def settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Recipes, sections and keys."""
    from segkit.cli.settings_reference import all_names

    return _items(all_names(), incomplete)
