"""Every sweep file: an agent's command line, as W&B makes it, is one that segkit can run."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from segkit.cli.recipes import resolve
from tests.configs.commands import parse

SWEEPS = sorted((Path(__file__).parents[2] / "configs" / "sweeps").glob("*.yaml"))


def agent_command(sweep: dict[str, Any], values: dict[str, object]) -> list[str]:
    """The words that an agent runs for one choice of the parameters."""
    arguments = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    words: list[str] = []
    for word in create_sweep_command(list(sweep["command"])):
        macro = word.removeprefix("${").removesuffix("}")
        words += arguments.get(macro, [word])
    return words


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_an_agent_s_command_sets_the_parameters_and_the_metric_is_a_final_number(path: Path) -> None:
    sweep = yaml.safe_load(path.read_text(encoding="utf-8"))
    values = {key: parameter["values"][0] for key, parameter in sweep["parameters"].items()}
    command = agent_command(sweep, values)
    names, params = parse(" ".join(command))
    assert names == ["pipeline", "run"]
    assert sweep["program"] == command[0] == "segkit"
    further, overrides = params["further"], params["overrides"]
    assert isinstance(further, tuple)
    assert isinstance(overrides, tuple)
    assert len(further) == len(values)
    resolved = resolve(str(params["name"]), params["config"], (*overrides, *further), None)  # type: ignore[arg-type]
    assert resolved.settings.runtime.tracker == "wandb"
    settings: Any = resolved.settings.model_dump(mode="json")
    for key, value in values.items():
        found = settings
        for part in key.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        assert found == value
    split, model, region, averaging, metric = sweep["metric"]["name"].split("/")
    assert model in {stage.name for stage in resolved.graph}
    assert (split, region, averaging, metric) == ("test", "fov", "pooled", "dice")
