"""Where a stage's metrics, images and lineage go besides its own folder: Weights & Biases, or nowhere.

Each stage is a W&B run in the group of its pipeline; `pipelines.results.pipeline_run` writes the run of the pipeline
itself. A tracker that fails prints one warning and tracks nothing more; it never ends a stage.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from segkit.core.files import sha256_json, write_json
from segkit.tasks import wandb_runs
from segkit.tasks.settings import RuntimeSettings
from segkit.tasks.wandb_runs import RunLabel

STEP, KIMG = "trainer/global_step", "gan/kimg"


class Tracker:
    """Tracks nothing; what a stage needs of one."""

    logger: Logger | None = None
    run_id: str | None = None
    """The W&B run, where there is one."""

    def images(self, key: str, pictures: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        """Show pictures (h, w, 3) under one key, each with a caption, if `share_images` allows it."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Final numbers of the run."""

    def output(self, name: str, kind: str, folder: Path, record: Mapping[str, Any], used: Sequence[str]) -> None:
        """Declare the result in `folder`, and the results it was made from, each as `name:fingerprint`."""

    def close(self) -> None:
        """End the run."""


class WandbTracker(Tracker):
    """One stage as one W&B run."""

    def __init__(self, runtime: RuntimeSettings, out: Path, label: RunLabel, config: Mapping[str, Any]) -> None:
        from lightning.pytorch.loggers import WandbLogger

        attempt = self._attempt

        class UnfailingLogger(WandbLogger):
            """Logs curves; an error of W&B must not end a training."""

            def log_metrics(self, metrics: Any, step: int | None = None) -> None:
                attempt(lambda: WandbLogger.log_metrics(self, metrics, step))

        self.failed = False
        self.name = label.name
        self.run_id = label.run_id
        self.share_images = runtime.share_images
        self.run, self.online = wandb_runs.start_run(runtime.wandb_project, label, out, config)
        # A GAN's clock is the images shown to its discriminator, a segmenter's the optimiser's steps.
        for clock, metrics in ((KIMG, ("gan/*",)), (STEP, ("train/*", "val/*", "lr", "epoch"))):
            self.run.define_metric(clock)
            for metric in metrics:
                self.run.define_metric(metric, step_metric=clock, step_sync=True)
        self.logger = UnfailingLogger(experiment=self.run, save_dir=out)

    def images(self, key: str, pictures: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        if self.share_images:
            self._attempt(lambda: self._log_images(key, pictures))

    def _log_images(self, key: str, pictures: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        import wandb

        self.run.log({key: [wandb.Image(picture, caption=caption) for caption, picture in pictures.items()]})

    def summary(self, values: Mapping[str, Any]) -> None:
        self._attempt(lambda: self.run.summary.update(dict(values)))

    def output(self, name: str, kind: str, folder: Path, record: Mapping[str, Any], used: Sequence[str]) -> None:
        self._attempt(lambda: self._log_artifact(name, kind, folder, record, used))

    def _log_artifact(self, name: str, kind: str, folder: Path, record: Mapping[str, Any], used: Sequence[str]) -> None:
        import wandb

        shown = artifact_record(record)
        artifact = wandb.Artifact(name, type=kind, metadata=shown)
        # Without a file of their own, all artifacts that upload nothing would be one version.
        write_json(folder / "wandb" / "record.json", shown)
        artifact.add_file(str(folder / "wandb" / "record.json"), name="record.json", policy="immutable")
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder).as_posix()
            if not path.is_file() or not wandb_runs.may_upload(inside, self.share_images):
                continue
            if path.stat().st_size <= wandb_runs.MAX_ARTIFACT_BYTES:
                artifact.add_file(str(path), name=inside, policy="immutable")
        if self.online:  # W&B cannot look up what is not uploaded yet
            for other in used:
                self._use(other)
        self.run.log_artifact(artifact, aliases=["latest", _alias(str(record["fingerprint"]))])

    def _use(self, other: str) -> None:
        import wandb

        name, _, fingerprint = other.partition(":")
        try:
            self.run.use_artifact(f"{name}:{_alias(fingerprint)}")
        except (wandb.Error, ValueError):
            return  # that stage ran without W&B, or offline; the record holds its fingerprint all the same

    def close(self) -> None:
        self._attempt(self.run.finish)

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do it, unless W&B has failed before; the first failure is printed."""
        if self.failed:
            return
        try:
            action()
        except Exception as error:
            self.failed = True
            warn(self.name, error)


def warn(name: str, error: Exception) -> None:
    """Print that W&B has failed in the run called `name`; what it has written so far stays."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"warning: W&B failed in {name} ({reason}); the stage's own files are complete without it", flush=True)


def _alias(fingerprint: str) -> str:
    return fingerprint[:12]


def artifact_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """What W&B is given of `done.json`: all but the names of files and folders, which may name patients.

    Of the outputs it holds the count by kind of file and one digest over all names and contents.
    """
    outputs = record.get("outputs", {})
    kinds = sorted(Path(name).suffix for name in outputs)
    inputs = {name: entry["fingerprint"] for name, entry in record.get("inputs", {}).items()}
    kept = wandb_runs.without_folders({key: value for key, value in record.items() if key not in {"outputs", "inputs"}})
    return {
        **kept,
        "inputs": inputs,
        "num_files": {kind or "none": kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "outputs_sha256": sha256_json(outputs),
    }


def open_tracker(runtime: RuntimeSettings, out: Path, label: RunLabel, config: Mapping[str, Any]) -> Tracker:
    """The tracker that the runtime names; ranks other than the first track nothing, nor does WANDB_MODE=disabled."""
    if not wandb_runs.may_track(runtime) or getattr(rank_zero_only, "rank", 0) != 0:
        return Tracker()
    try:
        return WandbTracker(runtime, out, label, config)
    except Exception as error:  # a tracker must never end a stage
        warn(label.name, error)
        return Tracker()
