"""A small training run with a tracker, as a command of its own: W&B starts a process beside it."""

import json
import sys
from pathlib import Path

import numpy as np

from segkit.core.manifest import read_manifest
from segkit.tasks.settings import RuntimeSettings
from segkit.tasks.tracking import open_tracker
from segkit.tasks.wandb_runs import RunLabel
from tests.tasks import small


def pictures():
    """Two pictures of known pixels."""
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (20, 30, 3), dtype=np.uint8) for name in ("21", "22")}


def main(data, out):
    out = Path(out)
    runtime = RuntimeSettings(
        accelerator="cpu", precision="32-true", tracker="wandb", wandb_project="vessels", share_images=True
    )
    wanted = small.settings(epochs=3, schedule={"name": "cosine"})
    config = {"settings": wanted.model_dump(mode="json"), "fingerprint": "0123abcd"}
    label = RunLabel("teacher-0123abcd", "teacher 0123", "teacher", "run-7", ("drive", "sa-unet"))
    tracker = open_tracker(runtime, out, label, config)
    _, _, best, curves = small.fit(out / "work", read_manifest(Path(data)), wanted, logger=tracker.logger)
    tracker.images("val/overlays", pictures())
    tracker.summary({"val/best-dice": best.score})
    (out / "model.json").write_text("{}")
    (out / "predictions").mkdir()
    (out / "predictions" / "21.png").write_bytes(b"pixels")
    tracker.output("teacher", "train", out, {"fingerprint": "0123abcd", "seconds": 3}, ["data:4567"])
    tracker.close()
    print(json.dumps(curves.rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
