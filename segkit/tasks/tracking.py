"""Where a run's metrics, images and lineage go besides its own folder: Weights & Biases, or nowhere.

One pipeline run is one W&B group; each stage is a run whose `job_type` is the stage's name. Without a login runs are
written offline (`wandb sync` uploads them later); nothing ever waits at a prompt.
"""

import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from segkit.tasks.settings import RuntimeSettings

MAX_ARTIFACT_BYTES = 64 * 2**20
"""Larger files are recorded by checksum and stay where they are."""


class Tracker:
    """Tracks nothing; what a stage needs of one."""

    logger: Logger | None = None

    def images(self, key: str, pictures: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        """Show pictures (h, w, 3) under one key, each with a caption."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Final numbers of the run."""

    def output(self, name: str, kind: str, folder: Path, record: Mapping[str, Any], used: Sequence[str]) -> None:
        """Declare the run's result and the results it was made from."""

    def close(self) -> None:
        """End the run."""


class WandbTracker(Tracker):
    """One stage as one W&B run."""

    def __init__(
        self, runtime: RuntimeSettings, out: Path, name: str, run_id: str, group: str | None, config: Mapping[str, Any]
    ) -> None:
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        self.online = logged_in()
        out.mkdir(parents=True, exist_ok=True)
        self.logger = WandbLogger(
            project=runtime.wandb_project,
            name=name,
            id=run_id,
            group=group,
            job_type=name,
            save_dir=out,
            offline=not self.online,
            config=dict(config),
            resume="allow" if self.online else None,
            # The run is one of many short processes; what it prints is not worth a line each.
            settings=wandb.Settings(silent=True, x_disable_stats=False, console="off"),
        )
        self.run: Any = self.logger.experiment

    def images(self, key: str, pictures: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        import wandb

        self.run.log({key: [wandb.Image(picture, caption=caption) for caption, picture in pictures.items()]})

    def summary(self, values: Mapping[str, Any]) -> None:
        self.run.summary.update(dict(values))

    def output(self, name: str, kind: str, folder: Path, record: Mapping[str, Any], used: Sequence[str]) -> None:
        import wandb

        artifact = wandb.Artifact(name, type=kind, metadata=dict(record))
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if path.is_file() and parts[0] not in {"work", "wandb"} and path.stat().st_size <= MAX_ARTIFACT_BYTES:
                artifact.add_file(str(path), name="/".join(parts), policy="immutable")
        if self.online:  # W&B cannot look up what is not uploaded yet
            for other in used:
                self.run.use_artifact(f"{other}:latest")
        self.run.log_artifact(artifact)

    def close(self) -> None:
        self.run.finish()


def logged_in() -> bool:
    """Whether W&B runs can go online: a key in the environment or in netrc, and no mode that says otherwise."""
    if os.environ.get("WANDB_MODE", "online") not in {"online", "shared"}:
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def open_tracker(
    runtime: RuntimeSettings, out: Path, name: str, run_id: str, group: str | None, config: Mapping[str, Any]
) -> Tracker:
    """The tracker the runtime asks for; ranks other than the first track nothing."""
    if runtime.tracker != "wandb" or rank_zero_only.rank != 0:
        return Tracker()
    return WandbTracker(runtime, out, name, run_id, group, config)
