"""Kill the training of a tiny GAN at random moments, go on with the same command, and compare with an undisturbed one.

    python tests/end_to_end/gan_kill_test.py --kills 10 --seed 0 --kimg 2

As `kill_test.py`, for the stage `gan` alone and with everything switched on that a resumed training has to get right.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipelines.execution.worker import execute
from segkit.cli.recipes import resolve
from segkit.core.files import TEMPORARY
from tests.end_to_end import kill_test
from tests.pipelines.tiny import write_config

RICH = {
    "gan.batch_size": 8,
    "gan.mbstd_group_size": 2,
    "gan.images_per_pass": 4,
    "gan.augment_transforms": "bgcfnc",
    "gan.augment_p": 0.3,
    "gan.ada_ramp_kimg": 1.0,
    "gan.x_flips": True,
    "gan.freeze_d": 2,
    "gan.num_low_precision_resolutions": 1,
    "gan.pl_interval": 3,
    "gan.r1_interval": 5,
    "gan.checkpoint_kimg": 0.032,
    "gan.snapshot_kimg": 0.064,
    "gan.num_sample_grid": 4,
}
"""Checkpoints and snapshots every four and eight iterations, in step with neither regularisation nor ADA."""


def prepare(root: Path, **gan: object) -> Path:
    """Write the settings and the data stage; returns the path of the settings."""
    config = write_config(root / "gan.yaml", RICH | {f"gan.{name}": value for name, value in gan.items()})
    resolved = resolve("synthetic-aug", config, (), None)
    execute(replace(resolved.graph["data"], runtime=resolved.settings.runtime), {}, root / "data")
    return config


def command(config: Path, runs: Path) -> list[str]:
    """The training, with its result in the folder `gan` of `runs`."""
    stage = [sys.executable, "-m", "segkit", "stage", "gan", "-c", str(config), "--out", str(runs / "gan")]
    return [*stage, "--input", f"data={config.parent / 'data'}"]


def progress(runs: Path) -> str:
    """How far a training has come, and which files were being written."""
    snapshots = len(list(runs.glob("gan/snapshots/*/settings.json")))
    begun = "with" if (runs / "gan/work/last.ckpt").exists() else "without"
    writing = [path.relative_to(runs).as_posix() for path in runs.rglob(f"{TEMPORARY}*")]
    return f"{snapshots} snapshots, {begun} checkpoint" + "".join(f", writing {path}" for path in writing)


def after_begin(runs: Path, seconds: float) -> Callable[[float], bool]:
    """Strikes so long after the stage has begun its folder, which it does once everything is imported."""
    request = runs / "gan" / "request.yaml"
    before = request.stat().st_mtime_ns if request.exists() else 0
    begun: list[float] = []

    def strike(now: float) -> bool:
        if not begun and request.exists() and request.stat().st_mtime_ns != before:
            begun.append(now)
        return bool(begun) and now - begun[0] >= seconds

    return strike


def main() -> int:
    """Run undisturbed, run and kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--kimg", type=float, default=2.0, help="length of the training")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="segkit-gan-kill-"))
    config, rng = prepare(root, kimg=given.kimg), random.Random(given.seed)
    undisturbed, killed = root / "undisturbed", root / "killed"
    whole_s = kill_test.run_to_end(command(config, undisturbed), root / "undisturbed.log")
    print(f"undisturbed: {whole_s:.0f} s, in {root}", flush=True)
    num_struck = 0
    while num_struck < given.kills:
        strike = after_begin(killed, rng.uniform(0, whole_s / given.kills))
        if not kill_test.run_and_kill(command(config, killed), root / "killed.log", strike):
            break
        num_struck += 1
        print(f"kill {num_struck}: {progress(killed)}", flush=True)
    kill_test.run_to_end(command(config, killed), root / "killed.log")
    differences = kill_test.differences(undisturbed, killed)
    print(
        "\n".join(differences) or f"{num_struck} kills; the same {kill_test.num_compared(killed)} files byte for byte"
    )
    return 1 if differences or num_struck < given.kills else 0


if __name__ == "__main__":
    sys.exit(main())
