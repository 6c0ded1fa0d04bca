"""Tracking of a stage's metrics, images and lineage by Weights & Biases.

Each stage is a W&B run in the group of its pipeline; `pipelines.results.pipeline_run` writes the run of the pipeline
itself. A tracker that fails prints one warning and stops tracking; the stage continues.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segkit.core.classes import Classes
from segkit.core.files import sha256_json, write_json
from segkit.metrics.metrics import EPOCH_METRICS, METRICS
from segkit.tasks import wandb_runs
from segkit.tasks.settings import RuntimeSettings
from segkit.tasks.wandb_runs import RunLabel

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

STEP, KIMG = "trainer/global_step", "gan/kimg"


@dataclass(frozen=True)
class Overlay:
    """An image with label maps."""

    name: str
    image: npt.NDArray[np.uint8]
    """(h, w, 3)."""
    maps: Mapping[str, npt.NDArray[np.bool_] | npt.NDArray[np.integer]]
    """(h, w) by name: bool in a binary task, else indices of classes."""


class Tracker:
    """The interface of trackers; this one does nothing."""

    logger: "Logger | None" = None
    run_id: str | None = None
    """Of the W&B run, if there is one."""

    share_images = False
    """Whether pictures may be logged."""

    def images(self, key: str, pictures: Mapping[str, npt.NDArray[np.uint8]], kimg: float | None = None) -> None:
        """Log pictures (h, w, 3), by caption, under one key, if `share_images` is set; `kimg` is the clock of a GAN."""

    def overlays(self, key: str, overlays: Sequence["Overlay"], classes: Classes) -> None:
        """Log images with their label maps as masks that can be switched, if `share_images` is set."""

    def summary(self, values: Mapping[str, object]) -> None:
        """Final numbers of the run."""

    def output(self, name: str, kind: str, folder: Path, record: Mapping[str, object], used: Sequence[str]) -> None:
        """Declare the result in `folder`, and the results it was made from, each as `name:fingerprint`."""

    def close(self) -> None:
        """End the run."""


class WandbTracker(Tracker):
    """One stage as one W&B run."""

    def __init__(self, runtime: RuntimeSettings, out: Path, label: RunLabel, config: Mapping[str, object]) -> None:
        from lightning.pytorch.loggers import WandbLogger

        attempt = self._attempt

        class UnfailingLogger(WandbLogger):
            """Logs curves; an error of W&B does not stop training."""

            def log_metrics(self, metrics: Any, step: int | None = None) -> None:
                attempt(lambda: WandbLogger.log_metrics(self, metrics, step))

        self.failed = False
        self.name = label.name
        self.run_id = label.run_id
        self.share_images = runtime.share_images
        self.out, self.project = out, runtime.wandb_project
        self.run, self.online = wandb_runs.start_run(runtime.wandb_project, label, out, config)
        # The x axis is kimg for a GAN and optimizer steps for a segmentation network.
        for clock, metrics in ((KIMG, ("gan/*",)), (STEP, ("train/*", "val/*", "lr", "epoch"))):
            self.run.define_metric(clock)
            for metric in metrics:
                self.run.define_metric(metric, step_metric=clock, step_sync=True)
        for name in EPOCH_METRICS:  # the summary has the best value, not the last one
            best = "max" if METRICS[name].larger_is_better else "min"
            self.run.define_metric(f"val/{name}", step_metric=STEP, step_sync=True, summary=best)
        self.run.define_metric("train/loss", step_metric=STEP, step_sync=True, summary="min")
        self.logger = UnfailingLogger(experiment=self.run, save_dir=out)

    def images(self, key: str, pictures: Mapping[str, npt.NDArray[np.uint8]], kimg: float | None = None) -> None:
        if self.share_images:
            self._attempt(lambda: self._log_images(key, pictures, kimg))

    def _log_images(self, key: str, pictures: Mapping[str, npt.NDArray[np.uint8]], kimg: float | None) -> None:
        import wandb

        clock = {} if kimg is None else {KIMG: kimg}
        self.run.log(clock | {key: [wandb.Image(picture, caption=caption) for caption, picture in pictures.items()]})

    def overlays(self, key: str, overlays: Sequence[Overlay], classes: Classes) -> None:
        if self.share_images:
            self._attempt(lambda: self._log_overlays(key, overlays, classes))

    def _log_overlays(self, key: str, overlays: Sequence[Overlay], classes: Classes) -> None:
        import wandb

        names = classes.names if classes.kind == "multiclass" else ("background", *classes.names)
        shown = [
            wandb.Image(
                overlay.image,
                caption=overlay.name,
                masks={
                    name: {"mask_data": labels.astype(np.uint8), "class_labels": dict(enumerate(names))}
                    for name, labels in overlay.maps.items()
                },
            )
            for overlay in overlays
        ]
        self.run.log({key: shown})

    def summary(self, values: Mapping[str, object]) -> None:
        self._attempt(lambda: self.run.summary.update(dict(values)))

    def output(self, name: str, kind: str, folder: Path, record: Mapping[str, object], used: Sequence[str]) -> None:
        self._attempt(lambda: self._log_artifact(name, kind, folder, record, used))

    def _log_artifact(
        self, name: str, kind: str, folder: Path, record: Mapping[str, object], used: Sequence[str]
    ) -> None:
        import wandb

        shown = artifact_record(record)
        artifact = wandb.Artifact(name, type=kind, metadata=shown)
        # Without a file that differs, artifacts without uploads would all have the same version.
        write_json(folder / "wandb" / "record.json", shown)
        artifact.add_file(str(folder / "wandb" / "record.json"), name="record.json", policy="immutable")
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder).as_posix()
            if not path.is_file() or not wandb_runs.may_upload(inside, self.share_images):
                continue
            if path.stat().st_size <= wandb_runs.MAX_ARTIFACT_BYTES:
                artifact.add_file(str(path), name=inside, policy="immutable")
        inputs = [input_artifact(other) for other in used]
        if self.online:
            for other in inputs:
                self._use(other)
        else:  # W&B cannot look up artifacts offline; `segkit wandb sync` declares these
            lineage = {"project": self.project, "run": self.run_id, "inputs": inputs}
            write_json(folder / "wandb" / wandb_runs.LINEAGE, lineage)
        self.run.log_artifact(artifact, aliases=["latest", _alias(str(record["fingerprint"]))])

    def _use(self, other: str) -> None:
        import wandb

        try:
            self.run.use_artifact(other)
        except (wandb.Error, ValueError):
            return  # that stage ran without W&B, or offline; the record holds its fingerprint all the same

    def close(self) -> None:
        self._attempt(lambda: wandb_runs.finish_run(self.run, self.out))

    def _attempt(self, action: Callable[[], object]) -> None:
        """Call `action` unless W&B has failed before; print the first failure."""
        if self.failed:
            return
        try:
            action()
        except Exception as error:
            self.failed = True
            warn(self.name, error)


def warn(name: str, error: Exception) -> None:
    """Print that W&B has failed in the run `name`."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"warning: W&B failed in {name} ({reason}); the stage's own files are complete without it", flush=True)


def input_artifact(used: str) -> str:
    """The artifact of a result `name:fingerprint`."""
    name, _, fingerprint = used.partition(":")
    return f"{name}:{_alias(fingerprint)}"


def _alias(fingerprint: str) -> str:
    return fingerprint[:12]


def artifact_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """`done.json` without names of files and folders, which may contain names of patients.

    The outputs are replaced by the number of files per suffix and one digest over all names and contents.
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


def open_tracker(runtime: RuntimeSettings, out: Path, label: RunLabel, config: Mapping[str, object]) -> Tracker:
    """The tracker that the runtime names; ranks other than the first track nothing, nor does WANDB_MODE=disabled."""
    if not wandb_runs.may_track(runtime):
        return Tracker()  # without the seconds that Lightning's import takes
    from lightning.pytorch.utilities import rank_zero_only

    if getattr(rank_zero_only, "rank", 0) != 0:
        return Tracker()
    try:
        return WandbTracker(runtime, out, label, config)
    except Exception as error:  # the stage continues without a tracker
        warn(label.name, error)
        return Tracker()
