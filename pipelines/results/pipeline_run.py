"""The W&B run of a pipeline: its configuration, final numbers and verdict, and the state of its stages.

Users sort, filter and plot these runs. Only a finished pipeline has one; a repeated one has one for each cell. A
pipeline that stopped early, at `--upto` or after a failure, has no final numbers; the runs of its stages show its
progress. The id of the run contains the fingerprint of the last stage, so the same pipeline always has the same run.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.graph import Graph
from pipelines.recipes.base import RecipeSettings
from pipelines.results.final_numbers import Numbers, evaluation_numbers, fidelity_numbers, verdict_numbers
from pipelines.stage import StageRecord
from pipelines.stage_types import EVALUATE, EVALUATE_FOLDS, FIDELITY, REPORT, ReportRequest
from segkit.core.files import read_json, write_json
from segkit.core.versions import git_commit
from segkit.tasks.settings import RuntimeSettings, TrainSettings
from segkit.tasks.wandb_runs import SWEEP_VARIABLES, RunLabel, finish_run, may_track, offline_if_unreachable, start_run

if TYPE_CHECKING:
    from pipelines.execution.runner import Planned

RECORD = "pipeline.json"
"""Written last into the pipeline's folder: its W&B run is complete."""
MAX_TITLE = 100
"""Characters."""


def tags(recipe: str, settings: RecipeSettings, graph: Graph) -> tuple[str, ...]:
    """Recipe, data set, networks and segkit's commit; none if the tracker is not W&B."""
    if settings.runtime.tracker != "wandb":
        return ()
    networks = sorted({stage.settings.model.name for stage in graph if isinstance(stage.settings, TrainSettings)})
    dataset = (settings.data.source or "no-data").partition(":")[0]
    commit = git_commit()
    return (recipe, dataset, *networks, *([f"segkit-{commit[:7]}"] if commit else []))


def readable_title(base: str, overrides: Sequence[str]) -> str:
    """The settings file and the overrides, for example `drive-cpu kimg=200 truncation_psi=0.5`.

    A setting has the last part of its key, or the full key if two have the same last part. Settings that cannot change
    a result are left out, and so are settings that may contain names of folders or patients.
    """
    given = dict(override.split("=", 1) for override in overrides)
    shown = {key: value.strip() for key, value in given.items() if _matters(key)}
    last = [key.rpartition(".")[2] for key in shown]
    parts = [
        f"{name if last.count(name) == 1 else key}={value}"
        for (key, value), name in zip(shown.items(), last, strict=True)
    ]
    text = " ".join([base, *parts])
    return text if len(text) <= MAX_TITLE else text[: MAX_TITLE - 1] + "…"


def _matters(key: str) -> bool:
    section, _, name = key.partition(".")
    if section == "runtime":
        return name in RuntimeSettings().identity()
    if key.endswith(".init_from"):
        return ".phases." in key  # elsewhere it is the place of a file
    return key not in {"data.source", "data.group_pattern"}


@contextmanager
def tracked(
    recipe: str,
    title: str,
    settings: RecipeSettings,
    planned: Sequence["Planned"],
    complete: bool,
    log: Callable[[str], None],
) -> Iterator[list[str]]:
    """Write the pipeline's W&B run after the block, which runs the stages and appends the names of those that ran.

    The connection to W&B is tested once for all stages. There is no test and no run if W&B is not the tracker, or if
    the run is already written and no stage is missing.

    A part of a pipeline, where `complete` is false, gets no run.
    """
    launched: list[str] = []
    cells = _cells(planned)
    missing = complete and any(_missing(cell) for cell in cells)
    if not may_track(settings.runtime) or (all(item.done for item in planned) and not missing):
        yield launched
        return
    with offline_if_unreachable(log):
        yield launched
        folders = {item.folder for item in planned if item.stage.name in launched}
        for cell in cells if complete else []:
            ran = [item.stage.name for item in cell if item.folder in folders]
            if not ran and not _missing(cell):
                continue
            request = cell[-1].stage.settings
            if len(cells) > 1 and isinstance(request, ReportRequest):
                _write(request.recipe, title, settings.runtime, request.pipeline, cell, ran, log)
            else:
                _write(recipe, title, settings.runtime, settings.model_dump(mode="json"), cell, ran, log)


def _cells(planned: Sequence["Planned"]) -> list[Sequence["Planned"]]:
    """The parts of a plan that have a run each: all stages; of several reports, each with the stages that it reads.

    In such a part the stages have the names that the report knows them by, the same in all parts.
    """
    reports = [item for item in planned if item.stage.type is REPORT]
    if len(reports) < 2:
        return [planned]
    by_name = {item.stage.name: item for item in planned}
    return [
        [
            *(replace(by_name[name], stage=replace(by_name[name].stage, name=key)) for key, name in read.items()),
            replace(report, stage=replace(report.stage, name="report")),
        ]
        for report in reports
        for read in [report.stage.inputs]
    ]


def _folder(planned: Sequence["Planned"]) -> Path:
    return planned[-1].folder.parent / f"pipeline-{planned[-1].fingerprint[:12]}"


def _missing(planned: Sequence["Planned"]) -> bool:
    """Whether the run of this pipeline is not written yet; each run of a sweep is another one."""
    return SWEEP_VARIABLES[0] in os.environ or not (_folder(planned) / RECORD).exists()


def _write(
    recipe: str,
    title: str,
    runtime: RuntimeSettings,
    settings: Mapping[str, object],
    planned: Sequence["Planned"],
    launched: Sequence[str],
    log: Callable[[str], None],
) -> None:
    last, folder = planned[-1], _folder(planned)
    name = f"{title} {last.fingerprint[:4]}"
    label = RunLabel(folder.name, name, "pipeline", last.stage.group, last.stage.tags)
    try:
        shutil.rmtree(folder, ignore_errors=True)  # replaces an offline run of the same id
        config = configuration(recipe, settings, planned, launched)
        run, online = start_run(runtime.wandb_project, label, folder, config)
        run.summary.update(final_numbers(planned))
        run.log(tables(planned, runtime.share_images))
        finish_run(run, folder)
        write_json(folder / RECORD, {"wandb_run": run.id, "name": name, "online": online})
        log(f"W&B: {run.url}" if online else f"W&B: send it with `segkit wandb sync --runs {folder.parent}`")
    except Exception as error:  # the results do not depend on it
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        log(f"warning: the pipeline's W&B run was not written ({reason}); the same command tries it again")


def configuration(
    recipe: str, settings: Mapping[str, object], planned: Sequence["Planned"], launched: Sequence[str]
) -> dict[str, object]:
    """All settings, the versions of code and data, and for each stage its result and its W&B run."""
    records = {item.stage.name: item.done or StageRecord() for item in planned}
    return {
        **settings,
        "recipe": recipe,
        "fingerprint": planned[-1].fingerprint,
        "dataset_sha256": records[planned[0].stage.name].get("contents", {}).get("data"),
        "segkit": {
            "version": records[planned[-1].stage.name].get("versions", {}).get("segkit"),
            "commit": git_commit(),
        },
        "stages": {
            item.stage.name: {
                "fingerprint": item.fingerprint,
                "folder": item.folder.name,
                "wandb_run": records[item.stage.name].get("wandb_run"),
                "state": "run" if item.stage.name in launched else "cached",
                "seconds": records[item.stage.name].get("seconds"),
            }
            for item in planned
        },
    }


def final_numbers(planned: Sequence["Planned"]) -> Numbers:
    """Scores, verdict and the GAN's measures; the key of a measure begins with the name of its stage."""
    from pipelines.results.measurements import read_measurements  # loads numpy

    numbers: Numbers = {}
    for item in planned:
        if item.stage.type in (EVALUATE, EVALUATE_FOLDS):
            numbers |= evaluation_numbers(read_measurements(item.folder))
        elif item.stage.type is REPORT:
            numbers |= verdict_numbers(read_json(item.folder / "verdict.json"))
        elif item.stage.type is FIDELITY:
            measured = fidelity_numbers(item.folder / "fidelity.csv")
            numbers |= {f"{item.stage.name}/{key}": value for key, value in measured.items()}
    return numbers


def tables(planned: Sequence["Planned"], share_images: bool) -> dict[str, object]:
    """The table of images, the curves, and with `share_images` the report, which holds pictures."""
    from pipelines.results.wandb_tables import evaluation_tables, report_page  # loads numpy

    shown: dict[str, object] = {}
    for item in planned:
        if item.stage.type in (EVALUATE, EVALUATE_FOLDS):
            shown |= evaluation_tables(item.folder, share_images)
        elif item.stage.type is REPORT and share_images:
            shown |= report_page(item.folder)
    return shown
