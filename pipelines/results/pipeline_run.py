"""The W&B run of a whole pipeline run: configuration, final numbers, verdict, and the stages they come from.

It is what users sort, filter and plot. It exists for finished pipelines only: one that stopped early, at `--upto` or by
a failure, has no final numbers, and its stage runs show how far it came. Its id is made of the last result's
fingerprint, so the same pipeline is always the same run.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.graph import Graph
from pipelines.recipes.base import RecipeSettings
from pipelines.results.final_numbers import Numbers, of_evaluation, of_fidelity, of_verdict
from pipelines.stage_types import EVALUATE, FIDELITY, REPORT
from segkit.core.files import read_json, write_json
from segkit.core.versions import git_commit
from segkit.tasks.settings import RuntimeSettings, TrainSettings
from segkit.tasks.wandb_runs import RunLabel, may_track, offline_if_unreachable, start_run

if TYPE_CHECKING:
    from pipelines.runner import Planned

RECORD = "pipeline.json"
"""Written last into the pipeline's folder: its W&B run is complete."""
MAX_TITLE = 100


def tags(recipe: str, settings: RecipeSettings, graph: Graph) -> tuple[str, ...]:
    """Recipe, data set, networks and segkit's commit; none if nothing is tracked by W&B."""
    if settings.runtime.tracker != "wandb":
        return ()
    networks = sorted({stage.settings.model.name for stage in graph if isinstance(stage.settings, TrainSettings)})
    dataset = (settings.data.source or "no-data").partition(":")[0]
    commit = git_commit()
    return (recipe, dataset, *networks, *([f"segkit-{commit[:7]}"] if commit else []))


def readable_title(base: str, overrides: Sequence[str]) -> str:
    """As in `drive-cpu kimg=200 truncation_psi=0.5`: the settings file, and what `--set` changed.

    A setting goes by the last part of its key, or by the whole key if two would be alike. What cannot change a result
    is left out, and so is what may hold names of folders or patients.
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
    return key not in {"data.source", "data.group_pattern", "gan.init_from"}


@contextmanager
def tracked(
    recipe: str,
    title: str,
    settings: RecipeSettings,
    planned: Sequence["Planned"],
    whole: bool,
    log: Callable[[str], None],
) -> Iterator[list[str]]:
    """Write the pipeline's run when the stages have run inside; the caller adds the names of those that did.

    Whether W&B's server answers is tried once, here, for all stages. Nothing is tried and nothing is written if W&B is
    not asked for, or if the run was written before and no stage has run since.

    Args:
        whole: whether `planned` are all stages; of a part of a pipeline nothing is written.
    """
    launched: list[str] = []
    if not may_track(settings.runtime) or (all(item.done for item in planned) and not (whole and _missing(planned))):
        yield launched
        return
    with offline_if_unreachable(log):
        yield launched
        if whole and (launched or _missing(planned)):
            _write(recipe, title, settings, planned, launched, log)


def _folder(planned: Sequence["Planned"]) -> Path:
    return planned[-1].folder.parent / f"pipeline-{planned[-1].fingerprint[:12]}"


def _missing(planned: Sequence["Planned"]) -> bool:
    """Whether the run of this pipeline is not written yet."""
    return not (_folder(planned) / RECORD).exists()


def _write(
    recipe: str,
    title: str,
    settings: RecipeSettings,
    planned: Sequence["Planned"],
    launched: Sequence[str],
    log: Callable[[str], None],
) -> None:
    last, folder = planned[-1], _folder(planned)
    name = f"{title} {last.fingerprint[:4]}"
    label = RunLabel(folder.name, name, "pipeline", last.stage.group, last.stage.tags)
    try:
        shutil.rmtree(folder, ignore_errors=True)  # an offline run of the same id, which this one replaces
        config = configuration(recipe, settings, planned, launched)
        run, online = start_run(settings.runtime.wandb_project, label, folder, config)
        run.summary.update(final_numbers(planned))
        run.finish()
        write_json(folder / RECORD, {"wandb_run": label.run_id, "name": name, "online": online})
        log(f"W&B: {run.url}" if online else f"W&B: upload with `wandb sync {folder.parent}/*/wandb/offline-run-*`")
    except Exception as error:  # the results are complete without it
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        log(f"warning: the pipeline's W&B run was not written ({reason}); the same command tries it again")


def configuration(
    recipe: str, settings: RecipeSettings, planned: Sequence["Planned"], launched: Sequence[str]
) -> dict[str, Any]:
    """Every setting, the code's and the data's identity, and for each stage its result and its own W&B run."""
    records = {item.stage.name: item.done or {} for item in planned}
    return {
        **settings.model_dump(mode="json"),
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
    """Scores, verdict and the GAN's measures, the latter below the name of the stage that measured them."""
    numbers: Numbers = {}
    for item in planned:
        if item.stage.type is EVALUATE:
            numbers |= of_evaluation(read_json(item.folder / "measurements.json"))
        elif item.stage.type is REPORT:
            numbers |= of_verdict(read_json(item.folder / "verdict.json"))
        elif item.stage.type is FIDELITY:
            measured = of_fidelity(item.folder / "fidelity.csv")
            numbers |= {f"{item.stage.name}/{key}": value for key, value in measured.items()}
    return numbers
