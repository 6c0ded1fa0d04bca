"""The names that a person can type for a trained model: one place for `--weights` and `init_from`.

A name is that of a shipped model, a path, `latest`, `best`, the name of a stage, or the first letters of a folder or
digits of a fingerprint in the runs folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipelines.graph import Graph
from pipelines.results.names import BEST, LATEST, FinishedStage, find_result, finished_stages, read_stage
from pipelines.stage import read_record
from pipelines.stage_types import ENSEMBLE, GAN, REPORT, SELECT, TRAIN
from segkit.core.errors import WeightsError
from segkit.core.files import read_json
from segkit.core.names import hint
from segkit.core.run_folder import REQUEST
from segkit.weights import shipped_models

Kind = Literal["network", "gan"]
MAX_LISTED = 8
"""Candidates that an error lists."""
_TYPES = {"network": (TRAIN.name, ENSEMBLE.name, SELECT.name), "gan": (GAN.name,)}


@dataclass(frozen=True)
class NamedModel:
    """A model, and why a name stands for it."""

    folder: Path
    reason: str = ""
    """Empty where the name is a path or a shipped model."""


def find_model(name: str | Path, runs: Path, kind: Kind = "network", *, unchanging: bool = False) -> NamedModel:
    """The model of a name.

    Args:
        name: what the user typed.
        runs: the runs folder; it need not exist where the name is a path or a shipped model.
        kind: a segmentation network or ensemble, or a GAN.
        unchanging: refuse a name that can stand for another model after the next training.

    Raises:
        WeightsError: no model or several have this name; the message lists the candidates.
    """
    shipped, text = shipped_models() if kind == "network" else {}, str(name)
    if text in shipped:
        return NamedModel(shipped[text])
    if text not in ("", LATEST, BEST) and Path(text).expanduser().exists():
        return _of_path(Path(text).expanduser(), kind)
    trained = finished_stages(runs, _TYPES[kind])
    if unchanging and text in (LATEST, BEST):
        raise WeightsError(f"{text} can be another model after each run; give one of {_listed(trained) or 'its paths'}")
    if text == BEST and trained:
        return _best(trained, kind)
    same_stage = [model for model in trained if model.record["stage"] == text]
    if same_stage and not unchanging:
        return NamedModel(same_stage[0].folder, f"the newest of {len(same_stage)} of this stage")
    model = find_result(text, trained, _val_dice, _listed, WeightsError)
    if model is not None:
        newest = f"the newest of {len(trained)}, finished {model.record['finished']}"
        return NamedModel(model.folder, newest if text == LATEST else "the only one with this beginning")
    pipelines = finished_stages(runs, (REPORT.name,))
    if text not in (LATEST, BEST) and (pipeline := find_result(text, pipelines, _val_dice, _listed, WeightsError)):
        return _of_path(pipeline.folder, kind)
    known = f"{runs} holds {_listed(trained)}" if trained else f"{runs} holds no finished {_noun(kind)}"
    more = f"; shipped models: {', '.join(shipped)}" if shipped else ""
    nearest = hint(text, [*shipped, *names_in(runs, kind)], f"{known}{more}")
    raise WeightsError(f"there is no {_noun(kind)} {text!r}, neither a path nor a name; {nearest}")


def names_in(runs: Path, kind: Kind) -> list[str]:
    """The names of the models of a runs folder: `latest`, `best`, stages and folders; none if it holds no model."""
    trained = finished_stages(runs, _TYPES[kind])
    if not trained:
        return []
    stages = dict.fromkeys(model.record["stage"] for model in trained)
    return [LATEST, *([BEST] if kind == "network" else []), *stages, *(model.folder.name for model in trained)]


def with_named_weights(graph: Graph, runs: Path) -> Graph:
    """The graph, in which `init_from` of every stage is a path.

    Names that can change their model are refused: the same command would train again from its own result.

    Raises:
        WeightsError: as `find_model`.
    """
    stages = []
    for stage in graph:
        given = getattr(stage.settings, "init_from", None)
        if given is not None and len(Path(given).parts) == 1 and not Path(given).suffix:
            folder = find_model(given, runs, "gan" if stage.type is GAN else "network", unchanging=True).folder
            stage = replace(stage, settings=stage.settings.model_copy(update={"init_from": folder}))
        stages.append(stage)
    return Graph(stages)


def _of_path(path: Path, kind: Kind) -> NamedModel:
    """The model in a path; of a runs folder or a report, the best one."""
    record = read_record(path) if path.is_dir() else None
    if record is not None and record.get("type") == REPORT.name:
        folders = [(path / entry["folder"]).resolve() for entry in record["inputs"].values()]
        return _best_or_only([model for folder in folders for model in read_stage(folder, _TYPES[kind])], kind, path)
    if path.is_dir() and not (path / REQUEST).exists() and any(path.glob(f"*/{REQUEST}")):
        return _best_or_only(finished_stages(path, _TYPES[kind]), kind, path)
    return NamedModel(path)


def _best_or_only(models: Sequence[FinishedStage], kind: Kind, path: Path) -> NamedModel:
    if not models:
        raise WeightsError(f"{path} holds no finished {_noun(kind)}")
    return NamedModel(models[0].folder, f"the only one of {path}") if len(models) == 1 else _best(models, kind)


def _best(models: Sequence[FinishedStage], kind: Kind) -> NamedModel:
    """The model with the highest validation Dice; test images do not choose it."""
    model = find_result(BEST, models, _val_dice, _listed)
    if model is None:
        raise WeightsError(
            f"no {_noun(kind)} has a validation score to choose the best by; it can be {_listed(models)}"
        )
    num_scored = sum(_val_dice(other) is not None for other in models)
    reason = f"the highest validation Dice, {_val_dice(model):.4f}, of {num_scored}; data sets may differ"
    return NamedModel(model.folder, reason)


def _val_dice(model: FinishedStage) -> float | None:
    """Validation Dice of its card."""
    try:
        value = read_json(model.folder / "model.json")["val_dice"]
    except (OSError, ValueError, KeyError):
        return None
    return None if value is None else float(value)


def _listed(models: Sequence[FinishedStage]) -> str:
    more = [f"{len(models) - MAX_LISTED} more"] if len(models) > MAX_LISTED else []
    return ", ".join([model.folder.name for model in models[:MAX_LISTED]] + more)


def _noun(kind: Kind) -> str:
    return "GAN" if kind == "gan" else "model"
