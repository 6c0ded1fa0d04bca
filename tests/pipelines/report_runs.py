"""Folders such as a pipeline leaves for its report, without training: drawn images, guessed maps, real scores."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from pipelines.execution.worker import Context
from pipelines.graph import Graph
from pipelines.recipes import synthetic_aug, train
from pipelines.recipes.synthetic_aug import SyntheticAugSettings
from pipelines.stage import AnyStage
from pipelines.stages import data, evaluate, report
from segkit.core import images
from segkit.core.files import as_csv, read_json, sha256_json, write_json, write_text
from segkit.core.manifest import Manifest, Row, Source, read_manifest, write_manifest
from segkit.core.run_folder import describe_outputs, write_done
from segkit.data import phantom
from segkit.tasks.settings import RuntimeSettings
from tests.pipelines import fidelity_runs

HEIGHT, WIDTH = 80, 76
PHASE = {"epochs": 2, "batch_size": 1}


@dataclass(frozen=True)
class Made:
    """A finished report and what it was made from."""

    out: Path
    folders: dict[str, Path]
    request: AnyStage

    @property
    def page(self) -> str:
        return (self.out / "report.html").read_text(encoding="utf-8")

    @property
    def verdict(self) -> Any:
        return read_json(self.out / "verdict.json")

    @property
    def comparisons(self) -> Any:
        return read_json(self.out / "comparisons.json")


class Maker:
    """Writes the folder of each stage; a model's map is the truth with `noise[name]` added in it."""

    def __init__(
        self,
        root: Path,
        settings: SyntheticAugSettings,
        noise: dict[str, float],
        curves: bool = True,
        images_per_patient: int = 1,
    ) -> None:
        self.root, self.settings, self.noise, self.curves = root, settings, noise, curves
        self.images_per_patient = images_per_patient
        self.folders: dict[str, Path] = {}

    def make(self, graph: Graph) -> Made:
        for stage in graph:
            if stage.type.name == "report":
                continue
            folder = self.root / f"{stage.name}-{sha256_json([stage.name])[:12]}"
            folder.mkdir(parents=True)
            self.folders[stage.name] = folder
            makers: dict[str, Callable[[AnyStage, Path], None]] = {
                "data": self.data,
                "train": self.train,
                "gan": self.gan,
                "sample": self.sample,
                "fidelity": lambda stage, folder: fidelity_runs.write(folder, fidelity_runs.assessment_of(copied=2)),
                "pseudo-label": self.pseudo_label,
                "select": lambda stage, folder: None,
                "ensemble": self.ensemble,
                "evaluate": self.evaluate,
            }
            makers[stage.type.name](stage, folder)
            write_done(folder, self.record(stage, folder))
        stage = graph["report"]
        context = self.context(stage, self.root / "report")
        report.run(context)
        return Made(context.out, self.folders, context.stage)

    def context(self, stage: AnyStage, out: Path) -> Context[Any]:
        out.mkdir(parents=True, exist_ok=True)
        stage = replace(stage, runtime=RuntimeSettings(tracker="none"))
        return Context(stage, {key: self.folders[name] for key, name in stage.inputs.items()}, out, "f" * 64, True)

    def record(self, stage: AnyStage, folder: Path) -> dict[str, Any]:
        return {
            "stage": stage.name,
            "type": stage.type.name,
            "fingerprint": sha256_json([stage.name]),
            "settings": stage.settings.model_dump(mode="json"),
            "runtime": RuntimeSettings().model_dump(mode="json"),
            "outputs": describe_outputs(folder),
            "git_commit": "0123456789abcdef0123456789abcdef01234567+",
            "versions": {"python": "3.11.0", "torch": "2.13.0"},
            "machine": {"platform": "Linux", "cpus": 2},
            "seconds": 83.4,
            "finished": "2025-01-02T03:04:05+0000",
        }

    def data(self, stage: AnyStage, folder: Path) -> None:
        data.run(self.context(stage, folder))
        if self.images_per_patient > 1:
            rows = read_manifest(folder).rows
            patients = [str((int(row.name[:2]) - 1) // self.images_per_patient) for row in rows]
            write_manifest([replace(row, group=group) for row, group in zip(rows, patients, strict=True)], folder)

    def train(self, stage: AnyStage, folder: Path) -> None:
        self.model(folder, "network", {})
        if not self.curves:
            return
        for number in range(len(stage.settings.phases)):  # type: ignore[attr-defined]
            rows: list[dict[str, float]] = [
                {"epoch": float(epoch), "step": 5.0 * (epoch + 1), "train/loss": 1 / (epoch + 1 + number)}
                for epoch in range(4)
            ]
            rows[1]["val/dice"], rows[3]["val/dice"] = 0.4, 0.5 + self.quality(stage.name) / 10
            write_text(folder / f"curves-{number}.csv", as_csv(rows))

    def quality(self, name: str) -> float:
        return 1 - self.noise.get(name, 0.3)

    def model(self, folder: Path, kind: str, details: dict[str, Any]) -> None:
        card = {
            "kind": kind,
            "threshold": 0.4,
            "threshold_source": "val-best-dice",
            "val_dice": 0.8,
            "details": details,
        }
        write_json(folder / "model.json", card)

    def gan(self, stage: AnyStage, folder: Path) -> None:
        rows = [
            {"step": float(n), "gan/kimg": n / 10, "gan/loss_g": 1.0 + n, "gan/loss_d": 2.0, "gan/ada_p": 0.0}
            for n in range(9)
        ]
        write_text(folder / "curves.csv", as_csv(rows))
        for seed, stem in enumerate(["reals", *(f"kimg{kimg:010.3f}" for kimg in (0, 0.2, 0.4, 0.6, 0.8, 1.2, 12))]):
            images.write_image(folder / "grids" / f"{stem}.png", noise_image(seed, 64, 64))

    def sample(self, stage: AnyStage, folder: Path) -> None:
        rows = []
        for seed in range(stage.settings.num_images):  # type: ignore[attr-defined]
            drawn, name = phantom.draw(1000 + seed, HEIGHT, WIDTH), f"seed{seed:04d}"
            images.write_image(folder / "images" / f"{name}.png", drawn.image)
            images.write_mask(folder / "fov" / f"{name}.png", drawn.fov)
            rows.append(
                Row(
                    name,
                    "train",
                    Source(folder / "images" / f"{name}.png"),
                    region=Source(folder / "fov" / f"{name}.png"),
                    origin="synthetic",
                )
            )
        write_manifest(rows, folder)

    def pseudo_label(self, stage: AnyStage, folder: Path) -> None:
        rows = []
        for row in read_manifest(self.folders[stage.inputs["samples"]]).rows:
            path = folder / "pseudo" / f"{row.name}.png"
            images.write_probs(path, np.full((HEIGHT, WIDTH), 0.3))
            rows.append(replace(row, labels={"pseudo": Source(path)}))
        write_manifest(rows, folder)

    def ensemble(self, stage: AnyStage, folder: Path) -> None:
        members = [name for name in stage.inputs if name != "data"]
        candidates = {"mean": {"val_dice": 0.81}, "weighted": {"val_dice": 0.82}}
        weights = [1 / len(members)] * len(members)
        self.model(
            folder, "ensemble", {"members": members, "rule": "weighted", "weights": weights, "candidates": candidates}
        )

    def evaluate(self, stage: AnyStage, folder: Path) -> None:
        def guess(
            context: Context, model: Path, rows: Manifest, out: Path, inference: Any, label: str, labels_dir: Path
        ) -> None:
            for row in rows.rows:
                images.write_probs(out / f"{row.name}.png", self.guess(row, label))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluate, "predict", guess)
            patch.setattr(evaluate, "describe_model", lambda model: {"weights": str(model), "images": None})
            evaluate.run(self.context(stage, folder))

    def guess(self, row: Row, name: str) -> np.ndarray:
        """The same noise for every model, more or less of it; images differ in how hard they are."""
        truth = np.zeros((HEIGHT, WIDTH)) if row.reference is None else images.read_mask(*row.reference).astype(float)
        number = int(row.name.partition("_")[0])
        rng = np.random.default_rng(number)
        noise = ndimage.gaussian_filter(rng.normal(0, 1, truth.shape), 0.7)
        level = self.noise.get(name, 0.3) * (1 + 0.1 * (number % 5))
        return np.clip(0.15 + 0.7 * truth + level * noise, 0, 1)


def noise_image(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make(
    root: Path,
    noise: dict[str, float],
    *,
    num_test: int = 7,
    test_labels: bool = True,
    observer2: bool = False,
    num_holdout: int = 0,
    curves: bool = True,
    **settings: Any,
) -> Made:
    """A run on phantoms with a report at its end.

    Args:
        root: where the folders go.
        noise: noise in the map of each model by name, 0.3 if absent.
        num_test: test images.
        test_labels: whether they have vessel maps.
        observer2: whether they have a second observer's.
        num_holdout: held-out training images.
        curves: whether trainings leave curves.
        settings: sections that differ from the small ones here.
    """
    sections = _sections(root, num_test, test_labels, observer2, num_holdout)
    parsed = SyntheticAugSettings.model_validate(sections | settings)
    return Maker(root / "runs", parsed, noise, curves).make(synthetic_aug.build(parsed))


def make_single(root: Path, num_test: int = 7, images_per_patient: int = 1) -> Made:
    """A run of one network: data, model, evaluation, report."""
    sections = _sections(root, num_test, True, False, 0)
    sections["report"]["title"] = "One network"
    settings = SyntheticAugSettings.model_validate(sections)
    single = train.TrainRecipeSettings(
        data=settings.data, model=settings.teacher, evaluate=settings.evaluate, report=settings.report
    )
    maker = Maker(root / "runs", settings, {}, images_per_patient=images_per_patient)
    return maker.make(train.build(single))


def _sections(root: Path, num_test: int, test_labels: bool, observer2: bool, num_holdout: int) -> dict[str, Any]:
    source = root / "source"
    phantom.write_dataset(source, 5 + num_holdout, num_test, HEIGHT, WIDTH, test_labels=test_labels)
    if observer2:
        for path in sorted((source / "test" / "1st_manual").iterdir()):
            thinner = np.roll(images.read_mask(path), 1, axis=0)
            images.write_mask(source / "test" / "2nd_manual" / path.name.replace("manual1", "manual2"), thinner)
    return {
        "data": {"source": f"drive:{source}", "num_val": 3, "num_holdout": num_holdout},
        "samples": {"num_images": 5},
        "students": {"student": {"phases": [{"data": "synthetic", **PHASE}, {"data": "real", **PHASE}]}},
        "evaluate": {"num_resamples": 100},
        "report": {"num_samples": 3, "num_overlays": 3},
    }
