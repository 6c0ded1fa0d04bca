"""The recipe that compares networks on one cut."""

import json
from pathlib import Path

import pytest

from pipelines.report.comparisons import sign_flip_p
from pipelines.results.measurements import read_measurements
from pipelines.results.scored_runs import Run
from segkit.core.files import read_json
from segkit.metrics.measure import find_measurement
from segkit.metrics.score import load_scores
from segkit.metrics.significance import holm
from segkit.models import build_model, cost
from segkit.models.settings import LittleWNetSettings, UNetSettings
from segkit.tasks.weights import read_card
from tests.pipelines.tiny import TINY, segkit_here

PHASES = [{"data": "real", "epochs": 1, "batch_size": 2}]
MODELS = {
    "unet": {"model": {"name": "unet", "widths": [4, 8]}, "phases": PHASES},
    "wnet": {"model": {"name": "little-wnet", "widths": [4, 8]}, "phases": PHASES},
    "sa-unet": {"model": {"name": "sa-unet", "widths": [4, 8]}, "phases": PHASES},
}


def write(path: Path, **sections: object) -> Path:
    settings = {key: TINY[key] for key in ("runtime", "data", "evaluate")} | {"models": MODELS} | sections
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def test_it_ends_with_one_table_of_costs_scores_and_tests_against_the_first_model(
    tmp_path: Path, stages_here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    config, runs = write(tmp_path / "compare.yaml"), tmp_path / "runs"
    assert segkit_here("pipeline", "run", "compare-models", "-c", str(config), "--runs", str(runs)) == 0
    [folder], [evaluated] = runs.glob("report-*"), runs.glob("evaluate-*")
    table = read_json(folder / "models.json")
    assert table["baseline"] == "unet"
    assert [row["name"] for row in table["models"]] == list(MODELS)
    network = build_model(UNetSettings(widths=(4, 8)))
    assert table["models"][0]["num_parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert table["models"][0]["against_baseline"] is None

    measured = read_measurements(evaluated)["test"]
    loaded = {
        name: Run(
            name, load_scores(evaluated / "scores" / f"test-{name}.npz"), find_measurement(numbers, "dice").threshold
        )
        for name, numbers in measured.items()
    }
    tests = [row["against_baseline"] for row in table["models"][1:]]
    p_values = [sign_flip_p([(loaded[name], loaded["unet"])]) for name in ("wnet", "sa-unet")]
    assert [test["p"] for test in tests] == p_values
    assert [test["corrected_p"] for test in tests] == holm(p_values)
    dice = {row["name"]: row["scores"]["dice"]["value"] for row in table["models"]}
    assert tests[0]["difference"] == pytest.approx(dice["wnet"] - dice["unet"])

    page, printed = (folder / "report.html").read_text(encoding="utf-8"), capsys.readouterr().out
    for row in table["models"]:
        assert f"{row['num_parameters']:,}" in page
        assert f"{row['num_parameters']:,}" in printed
        assert f"{row['scores']['dice']['value']:.4f}" in printed


def test_it_shares_the_trainings_of_the_recipe_train(
    tmp_path: Path, stages_here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    config, runs = write(tmp_path / "compare.yaml"), str(tmp_path / "runs")
    assert segkit_here("pipeline", "run", "compare-models", "-c", str(config), "--runs", runs, "--upto", "wnet") == 0
    single = write(tmp_path / "train.yaml", model=MODELS["wnet"])
    settings = json.loads(single.read_text())
    del settings["models"]
    single.write_text(json.dumps(settings))
    capsys.readouterr()
    assert segkit_here("pipeline", "run", "train", "-c", str(single), "--runs", runs, "--upto", "model") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in lines[:2]] == [["data:", "done"], ["model:", "done"]]


@pytest.mark.parametrize(
    "models",
    [
        {"unet": MODELS["unet"]},
        {"evaluate": MODELS["unet"], "wnet": MODELS["wnet"]},
        {"unet": MODELS["unet"], "wnet": {"phases": [{"data": "mixed"}]}},
    ],
    ids=["one model", "a stage's name", "synthetic images"],
)
def test_models_that_cannot_be_compared_are_refused_before_anything_starts(
    models: dict[str, object], tmp_path: Path
) -> None:
    config = write(tmp_path / "compare.yaml", models=models)
    assert segkit_here("pipeline", "show", "compare-models", "-c", str(config)) == 2


def test_holm_multiplies_the_smallest_p_by_the_number_of_tests_and_keeps_the_order() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_multiply_adds_of_a_convolution_are_pixels_times_weights() -> None:
    """The little U-Net by the layer list: each convolution's weights, without bias, times the pixels of its output."""
    settings = LittleWNetSettings(num_stages=1)
    network, pixels = build_model(settings), {}

    def count(module, inputs, output):  # type: ignore[no-untyped-def]
        per_output = module.weight[0].numel() if type(module).__name__ == "Conv2d" else module.weight.shape[0]
        pixels[module] = output[0].numel() * per_output

    import torch

    for module in network.modules():
        if type(module).__name__ in ("Conv2d", "ConvTranspose2d"):
            module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 3, 32, 32))
    assert cost.of_network(settings, side=32) == (34_201, sum(pixels.values()))


def test_a_filter_without_weights_is_compared_with_networks_and_its_threshold_is_chosen_on_validation(
    tmp_path: Path, stages_here: None
) -> None:
    models = {"ridge-filter": {"model": {"name": "ridge-filter", "sigmas": [1.0]}}, "unet": MODELS["unet"]}
    config, runs = write(tmp_path / "compare.yaml", models=models), tmp_path / "runs"
    assert segkit_here("pipeline", "run", "compare-models", "-c", str(config), "--runs", str(runs)) == 0
    [report], [folder] = runs.glob("report-*"), runs.glob("ridge-filter-*/model.json")
    rows = {row["name"]: row for row in read_json(report / "models.json")["models"]}
    assert rows["ridge-filter"]["num_parameters"] == 0
    assert rows["ridge-filter"]["scores"]["auroc"]["value"] > 0.7
    assert rows["unet"]["against_baseline"]["p"] > 0
    assert read_card(folder.parent).threshold_source == "val-best-dice"
    assert not list(folder.parent.glob("curves-*.csv"))
