"""The recipe that repeats another one over seeds, folds and settings."""

import copy
import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.execution.runner import Planned, StageFailedError, run
from pipelines.pooling import page, pool, published, text, verdict
from pipelines.pooling.pool import Pooled
from pipelines.results import pipeline_run
from pipelines.stage_types import CellRecord, PoolRequest, PoolSettings, Roles
from segkit.cli.recipes import CONFIGS, resolve
from segkit.core.files import read_json, write_json
from segkit.core.manifest import Row, Source, write_manifest
from segkit.core.run_folder import read_done
from segkit.metrics.measure import measure, to_json
from segkit.metrics.score import ImageScore, save_scores
from segkit.metrics.significance import ratio_of, seed_bootstrap
from tests.pipelines.execution.test_runner import FakeLauncher
from tests.pipelines.execution.test_side_by_side import Counting
from tests.pipelines.finished_runs import THRESHOLD, scores
from tests.pipelines.tiny import TINY, segkit_here
from tests.reference.tasks_wandb import read_run


def write(path: Path, recipe: str = "synthetic-aug", **sections: Any) -> Path:
    """Two seeds and two truncations of the tiny pipeline."""
    settings: dict[str, Any] = copy.deepcopy({key: TINY[key] for key in ("runtime", "data")})
    settings |= {"recipe": recipe, "seeds": [0, 1], "pool": {"num_resamples": 100}}
    if recipe == "synthetic-aug":
        settings["settings"] = {key: value for key, value in TINY.items() if key not in settings}
        settings["grid"] = {"samples.truncation_psi": [0.5, 1.0]}
    else:
        settings["settings"] = {"model": TINY["teacher"], "evaluate": TINY["evaluate"]}
    path.write_text(json.dumps(settings | sections), encoding="utf-8")
    return path


def plan(config: Path, runs: Path, *overrides: str) -> list[Planned]:
    return resolve("repeat", config, overrides, None).plan(runs)


def names(planned: Sequence[Planned], kind: str) -> list[str]:
    return [item.stage.name for item in planned if item.stage.type.name == kind]


# the graph ------------------------------------------------------------------------------------------------------------


def test_cells_share_every_stage_that_their_settings_do_not_change(tmp_path: Path) -> None:
    planned = plan(write(tmp_path / "repeat.yaml"), tmp_path)
    assert names(planned, "data") == ["data"]
    assert names(planned, "gan") == ["gan-seed-0", "gan-seed-1"]
    trained = names(planned, "train")
    assert [name for name in trained if name.startswith("teacher")] == ["teacher-seed-0", "teacher-seed-1"]
    assert [name for name in trained if "control" in name] == ["mixed-control-seed-0", "mixed-control-seed-1"]
    assert len(names(planned, "sample")) == len(names(planned, "evaluate")) == len(names(planned, "report")) == 4
    assert len({item.fingerprint for item in planned}) == len(planned)
    seeds = {item.stage.name: item.stage.runtime.seed for item in planned}
    assert (seeds["gan-seed-1"], seeds["data"], seeds["report"]) == (1, 0, 0)


def test_the_stages_of_a_cell_are_those_of_its_recipe_run_alone(tmp_path: Path) -> None:
    repeated = {item.fingerprint for item in plan(write(tmp_path / "repeat.yaml"), tmp_path)}
    alone = tmp_path / "alone.yaml"
    alone.write_text(json.dumps(TINY), encoding="utf-8")
    for psi in ("0.5", "1.0"):
        planned = resolve("synthetic-aug", alone, (f"samples.truncation_psi={psi}",), None).plan(tmp_path)
        assert {item.fingerprint for item in planned} <= repeated


def test_choices_with_a_name_change_several_settings(tmp_path: Path) -> None:
    grid = {"size": {"small": {"gan.kimg": 0.04, "samples.num_images": 2}, "large": {"samples.num_images": 4}}}
    graph = resolve("repeat", write(tmp_path / "repeat.yaml", grid=grid), (), None).graph
    assert graph["gan-size-small-seed-1"].settings.kimg == 0.04
    assert graph["samples-size-large-seed-0"].settings.num_images == 4
    assert [cell.values for cell in graph["report"].settings.cells][::2] == [{"size": "small"}, {"size": "large"}]


@pytest.mark.parametrize(
    "section",
    [
        {"recipe": "nope"},
        {"recipe": "repeat"},
        {"seeds": [1, 1]},
        {"seeds": [-1]},
        {"seeds": []},
        {"grid": {"gan.kim": [1]}},
        {"grid": {"gan.kimg": []}},
        {"grid": {"runtime.precision": ["auto"]}},
        {"settings": {"data": {}}},
        {"settings": {"gna": {}}},
        {"recipe": "cross-validate", "settings": {}, "grid": {}, "num_folds": 2},
        {"num_folds": 2, "data": TINY["data"] | {"num_folds": 3}},
    ],
    ids=str,
)
def test_settings_that_make_no_experiment_are_refused(section: dict[str, Any], tmp_path: Path) -> None:
    config = write(tmp_path / "repeat.yaml", **section)
    assert segkit_here("pipeline", "show", "repeat", "-c", str(config)) == 2


# failures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_failed_stage_stops_only_the_cells_that_need_it_and_the_next_run_makes_what_is_missing(
    tmp_path: Path, parallel: int
) -> None:
    planned = plan(write(tmp_path / "repeat.yaml"), tmp_path / "runs")
    broken = Counting(**{"gan-seed-1": 1})
    with pytest.raises(StageFailedError, match="gan-seed-1"):
        run(planned, print, broken, parallel)
    missing = {item.stage.name for item in planned if item.state != "done"}
    kinds = ("samples", "fidelity", "pseudo-labels", "mixed-truncation", "ensemble", "evaluate", "report")
    assert missing == {"gan-seed-1", "report"} | {
        item.stage.name for item in planned if item.stage.name.endswith("seed-1") and item.stage.name.startswith(kinds)
    }
    assert broken.launched[-1] == "report"  # of the complete cells
    [partial] = [read_done(folder) for folder in (tmp_path / "runs").glob("report-*") if "seed" not in folder.name]
    assert partial is not None
    assert partial["fingerprint"] != planned[-1].fingerprint
    read = {part.split("=")[0] for part in broken.commands[-1] if "=" in part}
    assert "evaluate-truncation-psi-0.5-seed-0" in read
    assert not read & missing

    mended = FakeLauncher()
    run(planned, print, mended, parallel)
    assert set(mended.launched) == missing


def test_without_any_complete_input_the_report_is_not_started(tmp_path: Path) -> None:
    planned = plan(write(tmp_path / "repeat.yaml"), tmp_path / "runs")
    launch = FakeLauncher(data=1)
    with pytest.raises(StageFailedError, match="data"):
        run(planned, print, launch)
    assert launch.launched == ["data"]


# pooled numbers -------------------------------------------------------------------------------------------------------

NOISE = {"base": 0.30, "new": 0.28, "new-control": 0.34}
SEEDS = (0, 1, 2)
ROLES = Roles(baseline="base", treated=("new",), controls={"new": "new-control"})


def write_cell(root: Path, seed: int, psi: str, extra: float) -> tuple[CellRecord, dict[str, Path]]:
    """An evaluation of three models with drawn maps, and its record."""
    name = f"psi-{psi}-seed-{seed}"
    folder = root / name
    (folder / "scores").mkdir(parents=True)
    measured = {}
    for number, (model, noise) in enumerate(NOISE.items()):
        scored = scores(noise + extra * (model == "new"), noise_seed=10 * seed + number)
        save_scores(scored, folder / "scores" / f"test-{model}.npz")
        measured[model] = [to_json(item) for item in measure(scored, THRESHOLD, "val-best-dice", num_resamples=100)]
    write_json(folder / "measurements.json", {"test": measured})
    rows = [
        Row(f"{image:02d}_test", "test", image=Source(root / "image.png"), labels={"reference": Source(root / "a.png")})
        for image in range(8)
    ]
    write_manifest(rows, folder)
    stages = {"data": f"data-{name}", "evaluate": f"evaluate-{name}"}
    record = CellRecord(name=name, seed=seed, fold=None, values={"samples.psi": psi}, stages=stages)
    return record, dict.fromkeys(stages.values(), folder)


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Pooled:
    """Three seeds and two settings, of which the second has a worse treated model; the last cell is not complete."""
    root = tmp_path_factory.mktemp("cells")
    cells = [write_cell(root, seed, psi, extra) for psi, extra in (("0.5", 0.0), ("1", 0.2)) for seed in SEEDS]
    inputs = {name: folder for _, folders in cells[:-1] for name, folder in folders.items()}
    request = PoolRequest(
        pool=PoolSettings(num_resamples=4000), pipeline={}, cells=tuple(record for record, _ in cells), roles=ROLES
    )
    return pool.pool(request, inputs, seed=3)


def confusion(score: ImageScore) -> tuple[int, int]:
    """2 TP and 2 TP + FP + FN of an image."""
    tp, fp, fn, _ = (int(count) for count in score.array(score.class_names[0], "fov", "confusion", THRESHOLD))
    return 2 * tp, 2 * tp + fp + fn


def test_pooled_differences_match_an_independent_hierarchical_bootstrap(pooled: Pooled) -> None:
    [difference] = [
        item
        for item in pooled.differences
        if item.setting.values == {"samples.psi": "0.5"}
        and (item.run, item.reference, item.comparison.metric) == ("new", "new-control", "dice")
    ]
    parts = np.array(
        [
            [
                [confusion(score) for score in scores(NOISE[model], noise_seed=10 * seed + list(NOISE).index(model))]
                for model in ("new", "new-control")
            ]
            for seed in SEEDS
        ]
    )  # (seed, model, image, part)
    totals = parts.sum(axis=2)
    dice = totals[..., 0] / totals[..., 1]
    by_seed = dice[:, 0] - dice[:, 1]
    assert difference.by_seed == pytest.approx(by_seed)
    assert difference.comparison.difference == pytest.approx(by_seed.mean())

    rng = np.random.default_rng(99)
    means = []
    for _ in range(4000):
        images = rng.integers(0, 8, 8)
        values = []
        for seed in rng.integers(0, len(SEEDS), len(SEEDS)):
            drawn = parts[seed][:, images].sum(axis=1)
            values.append(drawn[0, 0] / drawn[0, 1] - drawn[1, 0] / drawn[1, 1])
        means.append(np.mean(values))
    spread = np.std(means)
    expected = np.quantile(means, [0.025, 0.975])
    assert [difference.comparison.low, difference.comparison.high] == pytest.approx(expected, abs=0.15 * spread)

    every_swap = []
    for bits in range(2**8):
        swap = np.array([bits >> image & 1 for image in range(8)], dtype=bool)
        first = np.where(swap[:, None], parts[:, 1], parts[:, 0]).sum(axis=1)
        second = np.where(swap[:, None], parts[:, 0], parts[:, 1]).sum(axis=1)
        every_swap.append(np.mean(first[:, 0] / first[:, 1] - second[:, 0] / second[:, 1]))
    p = np.mean(np.abs(every_swap) >= abs(by_seed.mean()) - 1e-12)
    assert difference.p == pytest.approx(p)


def test_one_seed_has_the_interval_of_patients_and_equal_seeds_add_nothing() -> None:
    rng = np.random.default_rng(0)
    statistic = ratio_of(rng.random(9), 1 + rng.random(9))
    one = seed_bootstrap([statistic], 9, seed=5)
    three = seed_bootstrap([statistic] * 3, 9, seed=5)
    assert (one.low, one.high) == pytest.approx((three.low, three.high))
    assert np.isnan(one.deviation)
    assert three.deviation == 0
    shifted = seed_bootstrap([statistic, lambda drawn: statistic(drawn) + 1], 9, seed=5)
    assert shifted.high - shifted.low > 0.9  # the seeds differ by 1


def test_a_difference_is_found_where_there_is_one_and_incomplete_cells_are_left_out(pooled: Pooled) -> None:
    outcomes = {item.setting.values["samples.psi"]: item.outcome for item in pooled.verdict_differences}
    assert outcomes == {"0.5": "helped", "1": "worse"}
    assert verdict.outcome(pooled) == "mixed"
    assert [list(setting.runs) for setting in pooled.settings] == [[0, 1, 2], [0, 1]]
    assert [cell.record.name for cell in pooled.failed] == ["psi-1-seed-2"]
    assert "psi-1-seed-2" in text.failed_lines(pooled.failed)[0]
    assert text.as_json(pooled)["outcome"] == "mixed"


def test_of_many_comparisons_only_those_with_evidence_are_listed_and_the_images_have_to_suffice_for_all(
    pooled: Pooled,
) -> None:
    first, second = pooled.verdict_differences
    without = [replace(first, corrected_p=1.0)] * 12
    many = replace(pooled, differences=[*without, second])
    assert len(verdict.sentences(many)) == 1
    assert len(verdict.sentences(pooled)) == 2
    # 8 images: 2 / 2^8 is below 0.05 / 2, but not below 0.05 / 13
    assert len(verdict.caveats(many)) == len(verdict.caveats(pooled)) + 1
    assert {replace(item, num_tests=6).outcome for item in (first, second)} == {"helped", "worse"}
    assert {replace(item, num_tests=13).outcome for item in (first, second)} == {"too-few-images"}


def test_the_csv_has_the_mean_and_every_seed(pooled: Pooled) -> None:
    rows = list(csv.DictReader(text.scores_csv(pooled).splitlines()))
    dice = [row for row in rows if (row["samples.psi"], row["model"], row["metric"]) == ("0.5", "base", "dice")]
    inside = [row for row in dice if row["region"] == pooled.region]
    assert [row["seed"] for row in inside] == ["mean", "0", "1", "2"]
    values = [float(row["value"]) for row in inside]
    assert values[0] == pytest.approx(np.mean(values[1:]))
    assert float(inside[0]["deviation"]) == pytest.approx(np.std(values[1:], ddof=1))
    differences = list(csv.DictReader(text.differences_csv(pooled).splitlines()))
    assert {row["outcome"] for row in differences if row["metric"] != "dice"} == {""}


def test_a_published_row_stands_beside_the_model_that_was_trained_alike(pooled: Pooled) -> None:
    def found(model: str, **values: str) -> Mapping[str, pool.Score]:
        return published.counterpart(pooled, {"model": model, "values": values})

    chosen = found("new", **{"samples.psi": "1", "order": "mixed"})
    assert {(score.setting.values["samples.psi"], score.region) for score in chosen.values()} == {("1", "all-pixels")}
    assert found("new", **{"samples.psi": "0.7"}) == {}
    assert found("teacher") == {}


def test_the_corrected_f1_is_that_of_precision_and_sensitivity_and_the_printed_one_that_of_specificity() -> None:
    _, own = published.read("potesman-2023")["tables"]
    for row in own["rows"]:
        numbers = row["printed"] | row.get("corrected", {})
        precision, sensitivity = numbers["precision"], numbers["sensitivity"]
        assert numbers["dice"] == pytest.approx(2 * precision * sensitivity / (precision + sensitivity), abs=1e-3)
        specificity = numbers["specificity"]
        mistaken = 2 * precision * specificity / (precision + specificity)
        assert row["printed"]["dice"] == pytest.approx(mistaken, abs=6e-3)


def test_the_page_shows_published_tables_as_printed_and_corrected(pooled: Pooled, tmp_path: Path) -> None:
    chosen = pooled.request.pool.model_copy(update={"published": "potesman-2023"})
    request = pooled.request.model_copy(update={"pool": chosen})
    rendered = page.render(replace(pooled, request=request), tmp_path)
    assert all(number in rendered for number in ("0.983", "0.6633", "0.8263"))
    assert "Published tables" not in page.render(pooled, tmp_path)
    assert rendered.count("no result of data") == 1


# a run ----------------------------------------------------------------------------------------------------------------


def test_folds_of_all_seeds_are_pooled_and_a_second_run_does_nothing(
    tmp_path: Path, stages_here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    config = write(tmp_path / "repeat.yaml", "train", num_folds=2)
    command = ["pipeline", "run", "repeat", "-c", str(config), "--runs", str(runs)]
    assert segkit_here(*command) == 0
    [folder] = [folder for folder in runs.glob("report-*") if (folder / "scores.csv").exists()]
    result = read_json(folder / "verdict.json")
    num_images = TINY["data"]["phantom"]["num_train"]
    assert (result["basis"]["split"], result["basis"]["n"]) == ("out-of-fold", num_images)
    [dice] = [item for item in result["scores"] if (item["metric"], item["region"]) == ("dice", "fov")]
    assert set(dice["by_seed"]) == {"0", "1"}
    assert dice["n"] == num_images
    shown = (folder / "report.html").read_text(encoding="utf-8")
    assert f"{dice['value']:.4f}" in shown
    assert shown.count("report.html") == 4  # a link to the report of each cell
    capsys.readouterr()
    assert segkit_here(*command) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert {line.split(": ")[1].split()[0] for line in lines} == {"done"}


# W&B ------------------------------------------------------------------------------------------------------------------


class Evaluated(FakeLauncher):
    """Makes results without training; an evaluation's scores depend on its stage's name."""

    def __init__(self) -> None:
        super().__init__()
        self.scored: dict[str, list[ImageScore]] = {}

    def __call__(self, command: Sequence[str]) -> int:
        status = super().__call__(command)
        name, folder = self.launched[-1], Path(command[command.index("--out") + 1])
        if name.startswith("evaluate"):
            self.scored[name] = scores(0.3, noise_seed=len(self.scored))
            numbers = measure(self.scored[name], THRESHOLD, "val-best-dice", num_resamples=20)
            write_json(folder / "measurements.json", {"test": {"ensemble": [to_json(number) for number in numbers]}})
            (folder / "scores").mkdir()
            save_scores(self.scored[name], folder / "scores" / "test-ensemble.npz")
        elif name.startswith("report"):
            verdict = {"headline": "", "outcome": "helped", "basis": None, "students": [], "ensemble": None}
            write_json(folder / "verdict.json", verdict)
        return status


@pytest.mark.slow
def test_offline_wandb_files_alone_give_dice_against_psi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    resolved = resolve("repeat", CONFIGS / "repeat-demo.yaml", ("runtime.tracker=wandb",), None)
    planned, launch = resolved.plan(tmp_path / "runs"), Evaluated()
    with pipeline_run.tracked("repeat", "repeat-demo", resolved.settings, planned, True, print) as launched:
        launched += run(planned, print, launch)
    plotted = {
        (written["config"]["samples"]["truncation_psi"], written["config"]["runtime"]["seed"]): written["summary"][
            "test/ensemble/all-pixels/pooled/dice"
        ]
        for folder in (tmp_path / "runs").glob("pipeline-*")
        for written in [read_run(folder)]
    }
    assert plotted.keys() == {(psi, seed) for psi in (0.5, 1.0) for seed in (0, 1, 2)}
    for (psi, seed), dice in plotted.items():
        counts = [confusion(score) for score in launch.scored[f"evaluate-truncation-psi-{psi}-seed-{seed}"]]
        overlap, total = np.sum(counts, axis=0)
        assert dice == pytest.approx(overlap / total)
    assert len(set(plotted.values())) == 6
