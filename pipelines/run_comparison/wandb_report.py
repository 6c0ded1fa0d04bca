"""A W&B report and a saved workspace of a pipeline's group, built with the package wandb-workspaces."""

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from pipelines.results.pipeline_run import RECORD
from pipelines.run_comparison.finished import FinishedRun, model_names
from segkit.core.errors import RequestError
from segkit.core.files import read_json

CURVES = {
    "Validation Dice": ("trainer/global_step", ["val/dice"]),
    "Training loss": ("trainer/global_step", ["train/loss"]),
    "Losses of the GAN": ("gan/kimg", ["gan/loss_g", "gan/loss_d"]),
    "Overfitting and augmentation of the GAN": ("gan/kimg", ["gan/overfitting", "gan/ada_p"]),
}
"""Title, x axis and quantities of each chart of the stages' runs."""


def runs_of_group(run: FinishedRun, listed: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The run, and the others of its group: the cells of a repeated pipeline.

    Raises:
        RequestError: W&B did not track it.
    """
    pipeline = run.folder.parent / f"pipeline-{run.fingerprint[:12]}"
    if run.record.get("runtime", {}).get("tracker") != "wandb" and not (pipeline / RECORD).exists():
        raise RequestError(f"{run.folder} was run without W&B; run it again with --set runtime.tracker=wandb")
    return [run, *(other for other in listed if other.group == run.group and other.folder != run.folder)]


def varied_settings(runs: Sequence[FinishedRun]) -> list[str]:
    """Keys of the numbers among the settings that differ between runs, such as `samples.truncation_psi`."""
    values = {key: [run.settings.get(key) for run in runs] for key in runs[0].settings}
    return [
        key
        for key, numbers in values.items()
        if all(isinstance(number, int | float) for number in numbers) and len(set(numbers)) > 1
    ]


def build(runs: Sequence[FinishedRun], entity: str) -> tuple[Any, Any]:
    """The report and the workspace, neither of them saved.

    Raises:
        RequestError: wandb-workspaces is not installed, or nothing was scored.
    """
    wr, ws, expr = _packages()
    run, varied = runs[0], varied_settings(runs)
    project, score = str(run.record["runtime"]["wandb_project"]), run.main_score
    if score is None:
        raise RequestError(f"{run.folder} holds no scores, so there is nothing to report")
    dice = {
        name: f"{score.split}/{name.replace(' ', '-')}/{score.dice.region}/pooled/dice"
        for name in model_names(run, score.split)
    }
    in_group, kind = expr.Metric("Group") == run.group, expr.Metric("JobType")
    pipelines = wr.Runset(entity, project, "pipelines", filters=[in_group, kind == "pipeline"])
    stages = wr.Runset(entity, project, "stages", filters=[in_group, kind != "pipeline"])
    results = [
        *(
            wr.ScatterPlot(title=f"Dice against {key}", x=wr.Config(key), y=wr.SummaryMetric(dice[score.model]))
            for key in varied
        ),
        wr.BarPlot(title="Dice of each model", metrics=[wr.SummaryMetric(key) for key in dice.values()]),
    ]
    curves = [wr.LinePlot(title=title, x=x, y=y) for title, (x, y) in CURVES.items()]
    title = f"{run.recipe} {str(run.group).rpartition('-')[2]}"
    report = wr.Report(
        entity=entity,
        project=project,
        title=title,
        description=f"Group {run.group}, made by segkit",
        blocks=[
            wr.H1("Result"),
            wr.UnorderedList(items=[_result(other, varied) for other in runs]),
            wr.PanelGrid(runsets=[pipelines], panels=results),
            wr.H1("Settings that differ"),
            wr.PanelGrid(runsets=[pipelines], panels=[wr.RunComparer(diff_only="split")]),
            wr.H1("Training"),
            wr.PanelGrid(runsets=[stages], panels=curves),
        ],
    )
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=title,
        sections=[
            ws.Section(name="Results", panels=results, is_open=True),
            ws.Section(name="Training", panels=curves, is_open=True),
        ],
        runset_settings=ws.RunsetSettings(filters=[in_group]),
    )
    return report, workspace


def _result(run: FinishedRun, varied: Sequence[str]) -> str:
    """The verdict, after the settings that tell the run from the others."""
    cell = ", ".join(f"{key} = {run.settings[key]}" for key in varied)
    headline = str(read_json(run.folder / "verdict.json")["headline"])
    return f"{cell}: {headline}" if cell else headline


def _packages() -> list[ModuleType]:
    """The packages of W&B's reports, of its workspaces and of its filters."""
    try:
        return [importlib.import_module(f"wandb_workspaces.{name}") for name in ("reports.v2", "workspaces", "expr")]
    except ImportError as error:
        raise RequestError(f"wandb-workspaces is missing ({error}); `pip install 'segkit[wandb-report]'`") from error
