"""A recipe of a dozen lines: data and two networks, of which the better one is chosen."""

from pipelines.graph import Graph
from pipelines.recipes.base import Recipe, RecipeSettings
from pipelines.stage import Stage
from pipelines.stage_types import DATA, SELECT, TRAIN, SelectSettings
from segkit.tasks.settings import TrainSettings


class TwoSettings(RecipeSettings):
    """Two networks that differ in their seed."""

    network: TrainSettings = TrainSettings()


def build(settings: TwoSettings) -> Graph:
    """Data, two networks, the better one."""
    again = settings.network.model_copy(update={"seed_offset": settings.network.seed_offset + 1})
    return Graph(
        [
            Stage("data", DATA, settings.data),
            Stage("one", TRAIN, settings.network, {"data": "data"}),
            Stage("two", TRAIN, again, {"data": "data"}),
            Stage("better", SELECT, SelectSettings(), {"one": "one", "two": "two"}),
        ]
    )


RECIPE = Recipe("two", "two networks and the better one", TwoSettings, build)
