"""The finished pipelines of a runs folder, and the names that a person can type for them.

A finished pipeline is a finished stage of the type `report`. Its record names the stages that it read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from pipelines.results.measurements import OBSERVER, Measured, read_measurements
from pipelines.results.names import BEST, LATEST, MIN_ID, find_result
from pipelines.results.settings_diff import changed_settings, flatten
from pipelines.stage import StageRecord, read_record
from pipelines.stage_types import DATA, EVALUATE, EVALUATE_FOLDS, POOL, REPORT, TRAIN, ReportRequest
from segkit.core.config import read_yaml, validate
from segkit.core.errors import ConfigError, RequestError
from segkit.core.manifest import Split
from segkit.core.names import hint
from segkit.core.run_folder import DONE, REQUEST
from segkit.metrics.measure import Measurement, find_measurement

PAGE = "report.html"


@dataclass(frozen=True)
class StageResult:
    """A stage of a finished pipeline."""

    name: str
    type: str
    """Name of its stage type."""
    folder: Path
    fingerprint: str
    """Of the result that the pipeline used."""

    @cached_property
    def record(self) -> StageRecord | None:
        """Its `done.json`; None if the folder no longer holds this result."""
        return read_record(self.folder, self.fingerprint)

    @property
    def state(self) -> Literal["done", "missing"]:
        """Whether the folder still holds the result."""
        return "missing" if self.record is None else "done"


@dataclass(frozen=True)
class MainScore:
    """The headline numbers of a run: one model, pooled over the images of one split, inside the field of view."""

    split: Split
    model: str
    dice: Measurement
    auroc: Measurement | None


@dataclass(frozen=True)
class FinishedRun:
    """A finished pipeline."""

    folder: Path
    """Of its report."""
    record: StageRecord
    """`done.json` of its report."""
    request: ReportRequest
    stages: tuple[StageResult, ...]
    """In the order of the pipeline; the last one is the report."""

    @property
    def fingerprint(self) -> str:
        return self.record["fingerprint"]

    @property
    def finished(self) -> datetime:
        return datetime.strptime(self.record["finished"], "%Y-%m-%dT%H:%M:%S%z")

    @property
    def recipe(self) -> str:
        """Its name; empty if the report does not hold it."""
        return self.request.recipe

    @property
    def title(self) -> str:
        """Of its report; with the cell where the pipeline is one of a repeated experiment."""
        cell = self.record["stage"].removeprefix(REPORT.name).strip("-")
        return f"{self.request.report.title} ({cell})" if cell else self.request.report.title

    @property
    def group(self) -> str | None:
        """Of the tracker; the cells of a repeated pipeline have the same one."""
        return _group(self.folder / REQUEST)

    @property
    def report(self) -> Path:
        """Path of the HTML page."""
        return self.folder / PAGE

    @property
    def minutes(self) -> float:
        """Sum over its stages, cached ones included."""
        return sum((stage.record or StageRecord()).get("seconds", 0.0) for stage in self.stages) / 60

    @property
    def dataset(self) -> str:
        """Name of the data set, as in `drive`; empty if the folder of its data is missing."""
        record = self._first(DATA.name).record or StageRecord()
        return str(record.get("settings", {}).get("source") or "").partition(":")[0]

    @property
    def data_digest(self) -> str | None:
        """sha256 of the data set on disk; None for phantoms."""
        return (self._first(DATA.name).record or StageRecord()).get("contents", {}).get("data")

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the trained networks, without repetition."""
        trained = [stage.record for stage in self.stages if stage.type == TRAIN.name and stage.record is not None]
        return tuple(dict.fromkeys(str(record["settings"]["model"]["name"]) for record in trained))

    @property
    def evaluation(self) -> Path:
        """The folder of its scores.

        Raises:
            RequestError: it is missing, so the run cannot be compared.
        """
        stage = self._first(EVALUATE.name, EVALUATE_FOLDS.name)
        if stage.record is None:
            raise RequestError(
                f"{self.folder} was made from {stage.folder}, which no longer holds these scores; run it again"
            )
        return stage.folder

    @cached_property
    def measured(self) -> Measured:
        """Its measurements, the most trustworthy split first. Raises `RequestError` as `evaluation`."""
        return read_measurements(self.evaluation)

    def main_model(self, split: Split) -> str:
        """The ensemble if the recipe has one, else the baseline."""
        models = self.measured[split]
        roles = self.request.roles
        return roles.ensemble if roles.ensemble in models else roles.baseline

    @cached_property
    def main_score(self) -> MainScore | None:
        """Dice and AUROC on the most trustworthy split; None if nothing was scored or the scores are missing."""
        try:
            split = next(iter(self.measured), None)
        except RequestError:
            return None
        if split is None:
            return None
        model = self.main_model(split)
        measurements = self.measured[split].get(model, [])
        dice = find_measurement(measurements, "dice")
        return None if dice is None else MainScore(split, model, dice, find_measurement(measurements, "auroc"))

    @property
    def settings(self) -> dict[str, object]:
        """Every setting that can change a result, by dotted key."""
        return flatten(self.request.pipeline)

    @property
    def changed_settings(self) -> dict[str, tuple[object, object]]:
        """As `changed_settings`."""
        return changed_settings(self.recipe, self.request.pipeline)

    def _first(self, *types: str) -> StageResult:
        stage = next((stage for stage in self.stages if stage.type in types), None)
        if stage is None:
            raise RequestError(f"{self.folder}: the pipeline has no stage of the type {' or '.join(types)}")
        return stage


@dataclass(frozen=True)
class Listing:
    """The pipelines of a runs folder."""

    runs: tuple[FinishedRun, ...]
    """Newest first."""
    num_unfinished: int
    """Pipelines that stopped early: after a failure, a kill or at `--upto`."""
    unreadable: tuple[Path, ...]
    """Finished reports whose record this version cannot read."""


def read_run(folder: Path) -> FinishedRun:
    """The finished pipeline of a report's folder.

    Raises:
        RequestError: the folder holds no finished report, or one that this version cannot read.
    """
    record = read_record(folder)
    if record is not None and record.get("type") == POOL.name:
        raise RequestError(f"{folder} pools the runs of a repeated experiment; open {folder / PAGE}, or name one run")
    if record is None or record.get("type") != REPORT.name:
        raise RequestError(f"{folder} holds no finished report; `segkit runs list` lists the finished runs")
    try:
        request = validate(ReportRequest, record["settings"], str(folder / DONE))
    except ConfigError as error:
        raise RequestError(f"{folder} was made by another version of segkit and cannot be read: {error}") from error
    stages = [
        StageResult(
            node.name,
            node.type,
            (folder / record["inputs"][node.name]["folder"]).resolve(),
            record["inputs"][node.name]["fingerprint"],
        )
        for node in request.graph
    ]
    report = StageResult("report", REPORT.name, folder.resolve(), record["fingerprint"])
    return FinishedRun(folder, record, request, (*stages, report))


def list_runs(runs: Path) -> Listing:
    """The finished pipelines of a runs folder, newest first.

    Raises:
        RequestError: there is no such folder.
    """
    if not runs.is_dir():
        raise RequestError(f"there is no folder {runs}; give the folder of the results with --runs")
    read, unreadable, groups = [], [], set()
    for folder in sorted(path.parent for path in runs.glob(f"report*/{DONE}")):
        record = read_record(folder)
        if record is None or record.get("type") != REPORT.name:
            continue
        groups.add(_group(folder / REQUEST))
        try:
            read.append(read_run(folder))
        except RequestError:
            unreadable.append(folder)
    requested = {_group(path) for path in runs.glob(f"*/{REQUEST}")}
    read.sort(key=lambda run: run.finished, reverse=True)
    return Listing(tuple(read), len(requested - groups - {None}), tuple(unreadable))


def _group(request: Path) -> str | None:
    """The pipeline that a stage was started for; None if it was started alone."""
    try:
        group = read_yaml(request).get("group")
    except ConfigError:
        return None
    return None if group is None else str(group)


def short_ids(runs: Iterable[FinishedRun]) -> dict[str, str]:
    """The shortest prefixes of the fingerprints, all of one length, that are unique; by fingerprint."""
    fingerprints = {run.fingerprint for run in runs}
    length = MIN_ID
    while len({fingerprint[:length] for fingerprint in fingerprints}) < len(fingerprints):
        length += 1
    return {fingerprint: fingerprint[:length] for fingerprint in fingerprints}


def find_runs(names: Sequence[str], runs: Path) -> list[FinishedRun]:
    """The runs of these names: `latest`, `best`, the first digits of an id, or the folder of a report.

    The runs folder need not exist if all names are folders.

    Raises:
        RequestError: no run has a name, or several have it.
    """
    listed = list_runs(runs).runs if runs.is_dir() or not all(Path(name).is_dir() for name in names) else ()
    return [_find(name, listed, runs) for name in names]


def find_run(name: str, runs: Path) -> FinishedRun:
    """The run of a name, as in `find_runs`."""
    return find_runs([name], runs)[0]


def _find(name: str, listed: Sequence[FinishedRun], runs: Path) -> FinishedRun:
    run = find_result(name, listed, _main_dice, _described)
    if run is not None:
        return run
    if name in (LATEST, BEST):
        scored = " with scores" if name == BEST else ""
        raise RequestError(f"{runs} holds no finished run{scored}; `segkit pipeline run` makes one")
    if Path(name).is_dir():
        return read_run(Path(name))
    known = f"there are {_described(listed)}" if listed else f"{runs} holds no finished run"
    nearest = hint(
        name,
        [LATEST, BEST, *short_ids(listed).values()],
        f"{known}; or give {LATEST}, {BEST} or the folder of a report",
    )
    raise RequestError(f"there is no run {name!r}; {nearest}")


def _main_dice(run: FinishedRun) -> float | None:
    return None if run.main_score is None else run.main_score.dice.value


def _described(runs: Sequence[FinishedRun]) -> str:
    ids = short_ids(runs)
    return ", ".join(
        f"{ids[run.fingerprint]} ({run.recipe or 'unknown recipe'}, {run.finished:%F %H:%M})" for run in runs
    )


def model_names(run: FinishedRun, split: Split) -> list[str]:
    """Names of the models and ensembles that were scored on a split."""
    return [name for name in run.measured[split] if name != OBSERVER]
