"""What the stages left, gathered for the page: rows, measurements, scores, comparisons, and the verdict they allow."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.report import comparisons, fidelity, verdict
from pipelines.report.comparisons import Paired, Run
from pipelines.report.verdict import Basis, SplitSize, Verdict
from pipelines.stages.evaluate import OBSERVER, SCORED, read_measurements
from pipelines.store import read_done
from pipelines.verbs import ReportRequest
from segkit.core.manifest import Manifest, read_manifest
from segkit.metrics.score import Comparison, Measurement, find, load_scores

TEACHER, ENSEMBLE = "teacher", "ensemble"


@dataclass(frozen=True)
class Evidence:
    """Everything the page speaks of."""

    request: ReportRequest
    inputs: Mapping[str, Path]
    """Folders of the stages, by name."""
    records: Mapping[str, Mapping[str, Any]]
    """Their `done.json`, by name."""
    rows: Manifest
    """The data set."""
    measured: Mapping[str, Mapping[str, list[Measurement]]]
    """By split, the most trustworthy first, and run."""
    runs: Mapping[str, Run]
    """Scores on the verdict's split, the second observer's among them."""
    paired: list[Paired]
    verdict: Verdict

    @property
    def models(self) -> list[str]:
        """Names of the trained models and ensembles that were scored."""
        names = dict.fromkeys(name for runs in self.measured.values() for name in runs)
        return [name for name in names if name != OBSERVER]

    @property
    def students(self) -> list[str]:
        """Models that saw synthetic images; with a control or without."""
        return [
            stage["name"] for stage in self.request.graph if stage["verb"] == "train" and "synthetic" in stage["inputs"]
        ]

    @property
    def controls(self) -> dict[str, str]:
        """Control of each student that has one."""
        return dict(self.request.pairs)

    def stages(self, verb: str) -> list[str]:
        """Names of the stages of one kind whose folders are at hand, in order."""
        return [stage["name"] for stage in self.request.graph if stage["verb"] == verb and stage["name"] in self.inputs]


def gather(request: ReportRequest, inputs: Mapping[str, Path], seed: int) -> Evidence:
    """Read the folders of the finished stages and compare the runs."""
    records = {name: read_done(folder) or {} for name, folder in inputs.items()}
    rows = read_manifest(inputs["data"])
    sizes = {str(split): _size(rows.split(split)) for split in SCORED}
    found = read_measurements(inputs["evaluate"])
    measured = {split: found[split] for split in verdict.TRUST if split in found}
    basis = verdict.choose_basis(measured, sizes)
    num_resamples = int(records["evaluate"].get("settings", {}).get("num_resamples", 2000))
    pairs = _pairs(request, [name for runs in measured.values() for name in runs])
    kept: Mapping[str, Run] = {}
    paired: list[Paired] = []
    for split, runs in measured.items():
        loaded = {name: _load(inputs["evaluate"], split, name, found) for name, found in runs.items()}
        paired += comparisons.compare_runs(split, loaded, pairs, num_resamples=num_resamples, seed=seed)
        if basis is not None and split == basis.split:
            kept = loaded
    decided = _decide(request, basis, paired, kept, {row.origin for row in rows.rows}, seed)
    measured_gans = [
        stage["name"] for stage in request.graph if stage["verb"] == "fidelity" and stage["name"] in inputs
    ]
    decided = replace(decided, caveats=(*fidelity.caveats(measured_gans, inputs), *decided.caveats))
    return Evidence(request, inputs, records, rows, measured, kept, paired, decided)


def _size(part: Manifest) -> SplitSize:
    labelled = part.labelled()
    return SplitSize(len(part), len(labelled), labelled.num_groups)


def _pairs(request: ReportRequest, scored: list[str]) -> list[tuple[str, str]]:
    """Students against controls, which the verdict is about; then everything else against the teacher."""
    students = [student for student, _ in request.pairs]
    others = [name for name in dict.fromkeys([*students, ENSEMBLE]) if name in scored]
    return [*request.pairs, *((name, TEACHER) for name in others)]


def _decide(
    request: ReportRequest,
    basis: Basis | None,
    paired: list[Paired],
    runs: Mapping[str, Run],
    origins: set[str],
    seed: int,
) -> Verdict:
    if basis is None:
        return verdict.decide(None, [], None, origins)

    def found(run: str, reference: str) -> tuple[Comparison, float] | None:
        comparison = comparisons.find(paired, basis.split, run, reference)
        return None if comparison is None else (comparison, comparisons.sign_flip_p(runs[run], runs[reference], seed))

    known = {(student, control): found(student, control) for student, control in request.pairs}
    findings = [
        verdict.find_student(*each, student, control, basis.noun, len(known))
        for (student, control), each in known.items()
        if each is not None
    ]
    against = found(ENSEMBLE, TEACHER)
    ensemble = None if against is None else verdict.find_ensemble(*against, ENSEMBLE, TEACHER, basis.noun)
    return verdict.decide(basis, findings, ensemble, origins)


def _load(folder: Path, split: str, name: str, measurements: list[Measurement]) -> Run:
    dice = find(measurements, "dice")
    threshold = 0.5 if dice is None or dice.threshold is None else dice.threshold
    return Run(name, load_scores(folder / "scores" / f"{split}-{name.replace(' ', '-')}.npz"), threshold)
