"""Why a stage has to run, compared with the most similar result in the runs folder, and how long that result took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.execution.runner import Planned
from pipelines.results.settings_diff import flatten
from pipelines.stage import AnyStage, read_record
from segkit.core.config import read_yaml
from segkit.core.errors import ConfigError
from segkit.core.run_folder import DONE, REQUEST
from segkit.core.wording import duration

MAX_LISTED = 3
"""Differences that are listed for a stage; of more, their number is given."""
MAX_COUNTED = 10
"""With more differences, none is listed: the results have little in common."""

AMOUNT_OF_WORK = ("epochs", "steps", "kimg", "size", "resolution", "per_epoch", "per_image")
"""Last words of settings on which a stage's duration depends so much that another result's duration is no guide."""


class Difference(NamedTuple):
    """One difference between a request and a result."""

    text: str
    setting: str | None = None
    """Its dotted key; None if it is no setting."""

    @property
    def changes_the_work(self) -> bool:
        """Whether the stage may take much more or less time.

        A report holds the settings of the whole pipeline, but its own duration does not depend on them.
        """
        key = self.setting or ""
        section, last = key.partition(".")[0], key.rpartition(".")[2]
        return section == "model" or (
            section != "pipeline" and (last.startswith("num_") or last.endswith(AMOUNT_OF_WORK))
        )


@dataclass(frozen=True)
class Result:
    """A finished or interrupted result: the keys of `done.json`, or those of `request.yaml`."""

    folder: Path
    record: Mapping[str, Any]
    finished: bool


@dataclass(frozen=True)
class Change:
    """A stage that has to run, compared with the most similar result of the same type."""

    other: Path
    """Folder of that result."""
    differences: tuple[Difference, ...]
    seconds: float | None
    """How long the other result took; None if it was interrupted."""

    def __str__(self) -> str:
        took = "was interrupted" if self.seconds is None else f"took {duration(self.seconds)}"
        if len(self.differences) > MAX_COUNTED:
            return f"unlike {self.other.name}, which {took}: {len(self.differences)} differences"
        listed = [difference.text for difference in self.differences[:MAX_LISTED]]
        if len(self.differences) > MAX_LISTED:
            listed.append(f"{len(self.differences) - MAX_LISTED} more")
        return f"unlike {self.other.name}, which {took}: {', '.join(listed)}"


def changes(planned: Sequence[Planned], runs: Path, read: dict[Path, Result] | None = None) -> dict[str, Change]:
    """The change of every stage that has not been started and is not done, by name.

    A stage has none if the runs folder holds no result to compare it with.

    Args:
        read: finished results by folder, which are not read again; those that are read are added.
    """
    results = _results(runs, {} if read is None else read)
    done = {result.folder for result in results if result.finished}
    fingerprints = {item.folder: item.fingerprint for item in planned}
    by_stage = {}
    for item in planned:
        if item.folder not in done and item.state == "missing":
            inputs = {key: fingerprints[folder] for key, folder in item.inputs.items()}
            if change := _change(item.stage, inputs, results):
                by_stage[item.stage.name] = change
    return by_stage


def expected_seconds(
    planned: Sequence[Planned], runs: Path, read: dict[Path, Result] | None = None
) -> dict[str, float]:
    """How long stages that have to run took the last time, where no setting differs that changes the amount of work.

    Arguments are as of `changes`.
    """
    return {
        name: change.seconds
        for name, change in changes(planned, runs, read).items()
        if change.seconds is not None and not any(item.changes_the_work for item in change.differences)
    }


def _results(runs: Path, read: dict[Path, Result]) -> list[Result]:
    """Newest first; finished ones are taken from `read`, or added to it."""
    results = []
    for path in sorted(runs.resolve().glob(f"*/{REQUEST}"), key=lambda path: path.stat().st_mtime, reverse=True):
        folder = path.parent
        if folder not in read and (record := read_record(folder)) is not None:
            read[folder] = Result(folder, record, True)
        if folder in read:
            results.append(read[folder])
        elif not (folder / DONE).exists():
            try:
                results.append(Result(folder, read_yaml(path), False))
            except ConfigError:
                continue
    return results


def _change(stage: AnyStage, inputs: Mapping[str, str], results: Sequence[Result]) -> Change | None:
    """Compared with the result that has the fewest differences; a result of the same stage is preferred.

    None without a result of the same type, or if only other stages have one and too many settings differ.
    """
    digests = stage.type.external_digests(stage.settings) if results else {}
    compared = [
        (result.record.get("stage") != stage.name, len(differences), number, differences)
        for number, result in enumerate(results)
        if result.record.get("type") == stage.type.name
        for differences in [_differences(stage, inputs, digests, result)]
    ]
    if not compared:
        return None
    other_stage, _, number, differences = min(compared)
    if other_stage and len(differences) > MAX_COUNTED:
        return None
    result = results[number]
    seconds = result.record.get("seconds") if result.finished else None
    return Change(result.folder, differences or (Difference("a version of segkit that recorded less"),), seconds)


def _differences(
    stage: AnyStage, inputs: Mapping[str, str], digests: Mapping[str, str], result: Result
) -> tuple[Difference, ...]:
    record, stage_type = result.record, stage.type
    differences = []
    if record.get("version", stage_type.version) != stage_type.version:
        text = f"version {stage_type.version} of {stage_type.name} (was {record['version']})"
        differences.append(Difference(text))
    old = {key: value for key, value in record["settings"].items() if key not in stage_type.not_fingerprinted}
    differences += _changed(flatten(old), flatten(stage_type.fingerprint_fields(stage.settings)))
    runtime = stage.runtime.identity()
    differences += _changed(
        {key: value for key, value in record.get("runtime", {}).items() if key in runtime}, runtime, "runtime."
    )
    if "contents" in record:
        before = record["contents"]
        names = sorted(name for name in {*digests, *before} if digests.get(name) != before.get(name))
        differences += [Difference(f"files of {name} (sha256)") for name in names]
    if result.finished:
        read = {key: entry["fingerprint"] for key, entry in record["inputs"].items()}
        names = sorted(name for name in {*inputs, *read} if inputs.get(name) != read.get(name))
        differences += [Difference(f"input {name}") for name in names]
    return tuple(differences)


def _changed(old: Mapping[str, object], new: Mapping[str, object], prefix: str = "") -> list[Difference]:
    return [
        Difference(f"{prefix}{key} {_text(new, key)} (was {_text(old, key)})", prefix + key)
        for key in sorted({*old, *new})
        if key not in old or key not in new or old[key] != new[key]
    ]


def _text(settings: Mapping[str, object], key: str) -> str:
    text = str(settings[key]) if key in settings else "absent"
    return text if len(text) <= 40 else f"{text[:36]} ..."
