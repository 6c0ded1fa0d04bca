"""How the numbers were made: stages, seeds, data, software, machine, settings."""

import json
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from typing import get_args

from pipelines.report.album import Album
from pipelines.report.evidence import Evidence, StageInfo
from pipelines.report.recommendation import repeat_command, settings_yaml
from pipelines.results.settings_diff import changed_settings
from pipelines.stage import StageRecord
from segkit.core.files import sha256_json
from segkit.core.manifest import Split


def view(evidence: Evidence, album: Album) -> dict[str, object]:
    """Every stage, and what is needed to repeat the run."""
    stages = evidence.stages
    inputs = {name: tuple(stage.inputs.values()) for name, stage in stages.items()}
    return {
        "layers": [[stages[name] for name in layer] for layer in layers(inputs)],
        "needs": reduced(inputs),
        "stages": stages.values(),
        "facts": _facts(evidence),
        "software": _software(stages.values()),
        "settings": settings_yaml(evidence),
        "changed": _changed(evidence),
        "repeat": repeat_command(evidence),
        "seconds": sum(stage.record.get("seconds", 0.0) for stage in stages.values()),
    }


def _changed(evidence: Evidence) -> list[tuple[str, str, str]]:
    """Key, default and value of each setting that differs from the default of the recipe."""
    changed = changed_settings(evidence.request.recipe, evidence.request.pipeline) if evidence.request.recipe else {}
    return [(key, _shown(default), _shown(value)) for key, (default, value) in changed.items()]


def _shown(value: object) -> str:
    return "–" if value is None else json.dumps(value, ensure_ascii=False)


def layers(inputs: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The names in layers, each as early as its inputs allow; in the given order within a layer."""
    sorter = TopologicalSorter(inputs)
    sorter.prepare()
    order, result = list(inputs), []
    while sorter.is_active():
        ready = sorter.get_ready()
        result.append(sorted(ready, key=order.index))
        sorter.done(*ready)
    return result


def reduced(inputs: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """The inputs of each stage without those that another input already needs (transitive reduction)."""
    needs: dict[str, set[str]] = {}
    kept = {}
    for name, direct in inputs.items():
        indirect: set[str] = set().union(*(needs[other] for other in direct))
        needs[name] = indirect | set(direct)
        kept[name] = tuple(dict.fromkeys(other for other in direct if other not in indirect))
    return kept


def _facts(evidence: Evidence) -> dict[str, str]:
    """Seeds and identity of the data."""
    data = evidence.stages["data"].record
    files = {name: entry["sha256"] for name, entry in data.get("outputs", {}).items() if "/" in name}
    seeds = {
        "run": evidence.seed,
        "split": data.get("settings", {}).get("split_seed"),
    }
    listed = [f"{name} {seed}" for name, seed in seeds.items() if seed is not None]
    for name in evidence.of_type("sample"):
        settings = evidence.stages[name].record.get("settings", {})
        listed.append(f"{name} {settings['first_seed']} to {settings['first_seed'] + settings['num_images'] - 1}")
    splits = {split: ", ".join(row.name for row in evidence.manifest.split(split).rows) for split in get_args(Split)}
    return {
        "Seeds": ", ".join(listed),
        "Data, sha256 over its files' names and contents": data.get("contents", {}).get("data") or sha256_json(files),
        **{f"Images of split {split}": names for split, names in splits.items() if names},
    }


def _software(stages: Iterable[StageInfo]) -> list[tuple[str, dict[str, str]]]:
    """Commit, versions, machine and runtime, once for all stages that share them."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for stage in stages:
        if stage.record:
            groups.setdefault(_environment(stage.record), []).append(stage.name)
    labels = ("Git commit", "Versions", "Machine", "Runtime")
    return [(", ".join(names), dict(zip(labels, values, strict=True))) for values, names in groups.items()]


def _environment(record: StageRecord) -> tuple[str, ...]:
    machine, runtime, precision = record.get("machine", {}), record.get("runtime", {}), record.get("precision")
    commit = record.get("git_commit") or "not a checkout"
    return (
        f"{commit.rstrip('+')}, with uncommitted changes" if commit.endswith("+") else commit,
        ", ".join(f"{package} {version}" for package, version in record.get("versions", {}).items()),
        str(machine.get("platform", "")) + (f", {machine['cpus']} CPUs" if "cpus" in machine else ""),
        ", ".join(f"{key} {runtime[key]}" for key in ("devices", "strategy") if key in runtime)
        + (f", precision {precision}" if precision else ""),
    )
