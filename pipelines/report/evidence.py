"""The input of the report: folders and records of the stages, measurements, scores, comparisons, verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pipelines.fidelity import files
from pipelines.fidelity.assessment import SAMPLES, Assessment
from pipelines.report import comparisons, model_table, verdict
from pipelines.report.comparisons import Paired
from pipelines.report.model_table import ModelRow
from pipelines.report.verdict import Basis, SplitSize, Verdict
from pipelines.results.measurements import OBSERVER, SCORED, Measured, read_measurements
from pipelines.results.scored_runs import Run, load_split, values_by_image
from pipelines.stage import StageRecord, read_record
from pipelines.stage_types import ReportRequest, Roles
from segkit.core.manifest import FILE_NAME, Manifest, read_manifest
from segkit.metrics.measure import Comparison, find_measurement
from segkit.metrics.region import Region


@dataclass(frozen=True)
class StageInfo:
    """A stage of the pipeline with its record."""

    name: str
    type: str
    """Name of its stage type."""
    inputs: Mapping[str, str]
    """Names of the stages it reads, by input name."""
    record: StageRecord
    """Its `done.json`; empty if its folder is not an input of the report."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The input of the report; one per report, so that functions of it can be cached."""

    request: ReportRequest
    inputs: Mapping[str, Path]
    """Folders of the stages, by name."""
    stages: Mapping[str, StageInfo]
    """By name, in the order of the run."""
    manifest: Manifest
    """Of the data set."""
    measured: Measured
    """By split, the most trustworthy first, and run."""
    runs: Mapping[str, Run]
    """Scores on the verdict's split, including the second observer's."""
    paired: list[Paired]
    verdict: Verdict
    seed: int
    """Of the pipeline run."""
    model_rows: list[ModelRow]
    """The baseline and the models compared with it; empty in a recipe that compares none."""
    fidelity: Mapping[str, Assessment | str]
    """By stage, the measures of its GAN or the reason why there are none."""

    @property
    def roles(self) -> Roles:
        return self.request.roles

    @property
    def region(self) -> Region:
        """The pixels of the main numbers: the field of view, or all where the images have none."""
        everything = (m for runs in self.measured.values() for ms in runs.values() for m in ms)
        return next((m.region for m in everything), "fov")

    @property
    def models(self) -> list[str]:
        """Names of the models and ensembles that were scored; the baseline where nothing was."""
        names = dict.fromkeys(name for runs in self.measured.values() for name in runs)
        return [name for name in names if name != OBSERVER] or [self.roles.baseline]

    @property
    def shown_model(self) -> str:
        """The model whose predictions are shown: the ensemble, or else the last model."""
        return self.roles.ensemble if self.roles.ensemble in self.models else self.models[-1]

    @cached_property
    def dice(self) -> dict[str, dict[str, float]]:
        """The Dice of each image of the verdict's split, by model."""
        return {name: values_by_image(self.runs[name], "dice") for name in self.models if name in self.runs}

    def of_type(self, stage_type: str) -> list[str]:
        """Names of the stages of a type whose folders are inputs, in order."""
        return [stage.name for stage in self.stages.values() if stage.type == stage_type and stage.name in self.inputs]


def gather(request: ReportRequest, inputs: Mapping[str, Path], seed: int) -> Evidence:
    """Read the folders of the finished stages and compare the runs."""
    stages = {
        node.name: StageInfo(node.name, node.type, node.inputs, _record(inputs.get(node.name)))
        for node in request.graph
    }
    pooled = (inputs["evaluate"] / FILE_NAME).exists()  # of the folds of a cross-validation
    manifest = read_manifest(inputs["evaluate" if pooled else "data"])
    measured = read_measurements(inputs["evaluate"])
    basis = verdict.choose_basis(measured, {split: SplitSize.of(manifest.split(split)) for split in SCORED})
    num_resamples = int(_record(inputs["evaluate"]).get("settings", {}).get("num_resamples", 2000))
    runs: Mapping[str, Run] = {}
    paired: list[Paired] = []
    pairs = comparisons.pairs(request.roles)
    for split in measured:
        loaded = load_split(inputs["evaluate"], split, measured)
        paired += comparisons.compare_runs(split, loaded, pairs, num_resamples=num_resamples, seed=seed)
        if basis is not None and split == basis.split:
            runs = loaded
    fidelity = {
        name: files.read(inputs[name] / files.NUMBERS)
        for name, stage in stages.items()
        if stage.type == "fidelity" and name in inputs
    }
    origins: set[str] = {row.origin for row in manifest.rows}
    decided = _decide(request.roles, basis, measured, paired, runs, origins, seed)
    decided = replace(decided, caveats=(*_copy_caveats(fidelity), *decided.caveats))
    rows: list[ModelRow] = []
    if request.roles.compared and basis is not None:
        tests = model_table.paired_tests(request.roles, basis.split, paired, runs, seed)
        names = [request.roles.baseline, *request.roles.compared]
        records = {name: stages[name].record for name in names}
        rows = model_table.model_rows(names, records, measured[basis.split], tests, manifest.classes.num_channels)
        decided = replace(decided, headline=model_table.headline(rows, basis, "phantom" in origins))
    return Evidence(request, inputs, stages, manifest, measured, runs, paired, decided, seed, rows, fidelity)


def _record(folder: Path | None) -> StageRecord:
    return (folder and read_record(folder)) or StageRecord()


def _decide(
    roles: Roles,
    basis: Basis | None,
    measured: Measured,
    paired: list[Paired],
    runs: Mapping[str, Run],
    origins: set[str],
    seed: int,
) -> Verdict:
    if basis is None:
        return verdict.decide(roles, None, [], None, origins)

    def tested(run: str, reference: str) -> tuple[Comparison, float] | None:
        comparison = comparisons.main_comparison(paired, basis.split, run, reference)
        if comparison is None:
            return None
        return comparison, comparisons.sign_flip_p([(runs[run], runs[reference])], seed)

    findings = [
        verdict.judge_treated(*result, treated, control, basis.noun, roles.treatment, len(roles.controls))
        for treated, control in roles.controls.items()
        if (result := tested(treated, control)) is not None
    ]
    ensemble = None
    if roles.ensemble is not None and (result := tested(roles.ensemble, roles.baseline)) is not None:
        treatment = roles.treatment if roles.treated else ""
        ensemble = verdict.judge_ensemble(*result, roles.ensemble, roles.baseline, basis.noun, treatment)
    baseline = find_measurement(measured[basis.split].get(roles.baseline, []), "dice")
    return verdict.decide(roles, basis, findings, ensemble, origins, baseline)


def _copy_caveats(fidelity: Mapping[str, Assessment | str]) -> list[str]:
    """A caveat for each GAN whose samples hold copies of its training images."""
    caveats = []
    for name, assessment in fidelity.items():
        samples = None if isinstance(assessment, str) else assessment.sets.get(SAMPLES)
        if samples is not None and samples.num_copies:
            where = f" ({name})" if len(fidelity) > 1 else ""
            caveats.append(
                f"Copies of training photographs among the samples{where}: {samples.num_copies} of {samples.n}. A "
                "model could have learnt from the photographs what it learns from these."
            )
    return caveats
