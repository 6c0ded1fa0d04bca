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
        from lightning.pytorch.loggers import WandbLogger

        out.mkdir(parents=True, exist_ok=True)
        about = {
            "project": runtime.wandb_project,
            "name": name,
            "id": run_id,
            "group": group,
            "job_type": name,
            "dir": str(out),
            "config": dict(config),
        }
        self.run, self.online = _begin(about)
        self.run.define_metric("trainer/global_step")
        self.run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        self.logger = WandbLogger(experiment=self.run, save_dir=out)

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


def _begin(about: Mapping[str, Any]) -> tuple[Any, bool]:
    """The run, and whether it is online; one that W&B's server does not take is written offline."""
    import wandb

    # The run is one of many short processes; what it prints is not worth a line each.
    settings = wandb.Settings(silent=True, console="off", init_timeout=20)
    if logged_in():
        try:
            return wandb.init(**about, mode="online", resume="allow", settings=settings), True
        except wandb.Error as error:
            reason = " ".join(str(error).split())
            print(f"W&B: {reason}; the run is written offline, `wandb sync` uploads it later", flush=True)
            wandb.teardown()  # or its service holds the run's name to be taken
    return wandb.init(**about, mode="offline", settings=settings), False


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
    """The tracker the runtime asks for; ranks other than the first track nothing, as WANDB_MODE=disabled does."""
    disabled = os.environ.get("WANDB_MODE") == "disabled"
    if runtime.tracker != "wandb" or disabled or getattr(rank_zero_only, "rank", 0) != 0:
        return Tracker()
    return WandbTracker(runtime, out, name, run_id, group, config)
