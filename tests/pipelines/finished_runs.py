"""Folders of finished pipelines of the recipe `train`, with real scores of drawn maps, without training."""

from pathlib import Path
from typing import Any

import numpy as np

from pipelines.recipes import train
from pipelines.recipes.train import TrainRecipeSettings
from pipelines.stage_types import ReportRequest
from segkit.core.classes import Classes
from segkit.core.files import sha256_json, write_json, write_text
from segkit.core.run_folder import describe_outputs, write_done
from segkit.metrics.measure import measure, to_json
from segkit.metrics.score import ARGMAX, Cut, ImageScore, ScoredImage, save_scores, score_images

THRESHOLD = 0.4
HEIGHT, WIDTH = 24, 20


def scores(noise: float, noise_seed: int = 0, num_images: int = 8, truth_seed: int = 0) -> list[ImageScore]:
    """Scores of noisy copies of drawn truths; each image is its own patient."""
    rng, noise_rng = np.random.default_rng(truth_seed), np.random.default_rng(noise_seed)
    pictures = []
    for number in range(num_images):
        truth = rng.random((HEIGHT, WIDTH)) < 0.3
        probs = np.clip(0.15 + 0.6 * truth + noise * noise_rng.normal(0, 1, truth.shape), 0, 1)
        levels = np.rint(65535 * probs).astype(np.uint16)
        pictures.append(ScoredImage(f"{number:02d}_test", levels, truth, np.ones_like(truth)))
    return score_images(pictures, [THRESHOLD])


def multiclass_scores(noise: float, noise_seed: int = 0, num_images: int = 8) -> list[ImageScore]:
    """As `scores`, of three classes."""
    classes = Classes(kind="multiclass", names=("background", "disc", "cup"))
    rng, noise_rng = np.random.default_rng(0), np.random.default_rng(noise_seed)
    pictures = []
    for number in range(num_images):
        truth = rng.integers(0, 3, (HEIGHT, WIDTH))
        logits = np.eye(3)[truth].transpose(2, 0, 1) + noise * noise_rng.normal(0, 1, (3, HEIGHT, WIDTH))
        probs = np.exp(logits) / np.exp(logits).sum(axis=0)
        levels = np.rint(65535 * probs).astype(np.uint16)
        region = np.ones(truth.shape, dtype=bool)
        pictures.append(ScoredImage(f"{number:02d}_test", levels, truth, region, classes=classes))
    return score_images(pictures)


def write_run(
    runs: Path,
    scored: list[ImageScore],
    *,
    split: str = "test",
    minute: int = 0,
    title: str = "Segmentation by one network",
    seed: int = 0,
    **settings: Any,
) -> Path:
    """Write a finished run and return the folder of its report.

    Args:
        runs: the runs folder.
        scored: of its model.
        split: of the images.
        minute: of the hour in which it finished.
        title: of its report.
        seed: of the run.
        settings: further sections of the recipe's settings.
    """
    parsed = TrainRecipeSettings.model_validate(
        {"runtime": {"seed": seed}, "data": {"source": "phantom"}, "report": {"title": title}, **settings}
    )
    folders: dict[str, tuple[Path, str]] = {}
    for stage in train.build(parsed):
        fingerprint = sha256_json([stage.name, stage.settings.model_dump(mode="json"), seed, minute, str(runs)])
        folder = runs / f"{stage.name}-{fingerprint[:12]}"
        if stage.name == "evaluate":
            (folder / "scores").mkdir(parents=True)
            save_scores(scored, folder / "scores" / f"{split}-model.npz")
            binary = len(scored[0].class_names) == 1
            cut: tuple[Cut, str] = (THRESHOLD, "val-best-dice") if binary else (ARGMAX, ARGMAX)
            numbers = measure(scored, *cut, num_resamples=100)
            write_json(folder / "measurements.json", {split: {"model": [to_json(number) for number in numbers]}})
        if isinstance(stage.settings, ReportRequest):
            write_text(folder / "report.html", "<!doctype html>\n")
        write_text(folder / "request.yaml", f"group: train-{minute:08d}\n")
        record = {
            "stage": stage.name,
            "type": stage.type.name,
            "fingerprint": fingerprint,
            "settings": stage.settings.model_dump(mode="json"),
            "inputs": {
                name: {"folder": f"../{folders[name][0].name}", "fingerprint": folders[name][1]}
                for name in stage.inputs.values()
            },
            "outputs": describe_outputs(folder),
            "git_commit": "0123456789abcdef0123456789abcdef01234567",
            "seconds": 90.0,
            "finished": f"2025-01-02T03:{minute:02d}:05+0000",
        }
        write_done(folder, record)
        folders[stage.name] = folder, fingerprint
    return folders["report"][0]
