"""Sends the W&B runs that were written offline, by W&B's own command, and declares what they were made from."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segkit.core.files import read_json
from segkit.tasks.wandb_runs import LINEAGE, UNSENT, unsent_runs

TIMEOUT_S = 1800
"""For one run."""


@dataclass(frozen=True)
class Sent:
    """The outcome for one run."""

    folder: Path
    error: str | None
    """None if the run was sent."""

    @property
    def line(self) -> str:
        """For the terminal."""
        name = f"{self.folder.parents[1].name}/{self.folder.name}"
        return f"{name}: sent" if self.error is None else f"{name}: not sent: {self.error}"


def send_all(runs: Path) -> Iterator[Sent]:
    """Send every run below a runs folder that was not sent before, the oldest first, then their lineage."""
    sent = []
    for folder in unsent_runs(runs):
        result = Sent(folder, send(folder))
        if result.error is None:
            sent.append(folder)
            (folder.parent / UNSENT).unlink(missing_ok=True)
        yield result
    for folder in sent:
        if (folder.parent / LINEAGE).exists() and (error := declare_inputs(folder.parent / LINEAGE)):
            yield Sent(folder, f"its lineage: {error}")


def send(folder: Path) -> str | None:
    """Run `wandb sync` for one folder; why it failed, or None."""
    command = [sys.executable, "-P", "-m", "wandb", "sync", "--include-online", str(folder)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"no end after {TIMEOUT_S} s"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode == 0 and any(folder.glob("*.synced")):
        return None
    return lines[-1].removeprefix("wandb: ").strip() if lines else f"exit code {done.returncode}"


def declare_inputs(path: Path) -> str | None:
    """Declare the artifacts that a sent run used; why this failed, or None. Artifacts that W&B lacks are left out."""
    import wandb

    lineage = read_json(path)
    try:
        api = wandb.Api()
        run = api.run(f"{lineage['project']}/{lineage['run']}")
        for name in lineage["inputs"]:
            try:
                artifact = api.artifact(f"{lineage['project']}/{name}")
            except (wandb.Error, ValueError):
                continue  # its stage ran without W&B
            run.use_artifact(artifact)
    except Exception as error:  # W&B raises many kinds
        return " ".join(f"{type(error).__name__}: {error}".split())
    path.unlink()
    return None
