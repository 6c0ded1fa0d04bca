"""The table of recipes. A recipe is a module here with a `RECIPE`: its settings, its graph, and the models' roles."""

from importlib import import_module

from pipelines.recipes.base import Recipe, RecipeSettings

MODULES = (
    "synthetic_aug",  # the first one is what commands use without --recipe
    "train",
    "compare_models",
    "cross_validate",
    "repeat",
)

_LOADED: list[Recipe[RecipeSettings]] = [import_module(f"{__name__}.{module}").RECIPE for module in MODULES]
RECIPES = {recipe.name: recipe for recipe in _LOADED}
DEFAULT_RECIPE = _LOADED[0].name
