"""A whole pipeline of seconds: settings on tiny phantoms, and a launcher that carries stages out in this process."""

import copy
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.execution.runner import Planned, run
from segkit.cli import main
from segkit.cli.recipes import resolve

STAGES = [
    "data",
    "teacher",
    "gan",
    "samples",
    "fidelity",
    "pseudo-labels",
    "mixed",
    "mixed-control",
    "ensemble",
    "evaluate",
    "report",
]
"""The stages of `TINY`, in order."""

TINY: dict[str, Any] = {
    "runtime": {"tracker": "csv", "accelerator": "cpu", "precision": "32-true"},
    "data": {
        "source": "phantom",
        "phantom": {"num_train": 6, "num_test": 2, "height": 48, "width": 52, "seed": 1},
        "num_val": 2,
        "num_holdout": 0,
    },
    "teacher": {
        "model": {"widths": [4, 8]},
        "phases": [{"data": "real", "epochs": 2, "batch_size": 2, "augmentation": "flips"}],
    },
    "gan": {
        "resolution": 16,
        "batch_size": 4,
        "mbstd_group_size": 2,
        "channel_base": 128,
        "channel_max": 8,
        "num_mapping_layers": 1,
        "z_dim": 8,
        "w_dim": 8,
        "kimg": 0.08,
        "snapshot_kimg": 0.04,
        "checkpoint_kimg": 0.02,
    },
    "samples": {"num_images": 4},
    "fidelity": {"num_images": 5, "num_pairs": 2},
    "students": {
        "mixed": {
            "model": {"widths": [4, 8]},
            "phases": [
                {"data": "synthetic", "epochs": 1, "batch_size": 2, "augmentation": "flips"},
                {"data": "mixed", "epochs": 2, "batch_size": 2},
            ],
        }
    },
    "evaluate": {"num_resamples": 100},
}
"""Eleven stages in some five seconds, once everything is imported."""


def write_config(path: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """`TINY` as a settings file, with values at dotted keys changed or added."""
    settings = copy.deepcopy(TINY)
    for dotted, value in (changes or {}).items():
        node = settings
        *parents, last = dotted.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    path.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return path


def plan(config: Path, runs: Path, *overrides: str, data: str | None = None, upto: str | None = None) -> list[Planned]:
    """The stages `segkit pipeline run` would go through."""
    return resolve("synthetic-aug", config, overrides, data).plan(runs, upto)


def run_here(config: Path, runs: Path, *overrides: str, **given: Any) -> list[str]:
    """`segkit pipeline run` with every stage in this process; what the runner logged."""
    lines: list[str] = []
    run(plan(config, runs, *overrides, **given), lines.append, launch_here)
    return lines


def launch_here(command: Sequence[str]) -> int:
    """Carry out `python -P -m segkit ...` in this process."""
    assert list(command[:4]) == [sys.executable, "-P", "-m", "segkit"]
    return segkit_here(*command[4:])


def segkit_here(*args: str) -> int:
    """Exit code of `segkit ...`, carried out in this process."""
    with pytest.raises(SystemExit) as end:
        main(list(args))
    assert isinstance(end.value.code, int)
    return end.value.code


def start_segkit(*args: str, cwd: Path, **given: Any) -> subprocess.Popen[str]:
    """`segkit ...` as a process of its own in `cwd`, its output kept as text."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **given}
    # tests that run in a shell's background were told to ignore SIGINT, and would hand that on
    given.setdefault("preexec_fn", functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler))
    return subprocess.Popen([sys.executable, "-m", "segkit", *args], cwd=cwd, text=True, env=environment(), **given)


def run_segkit(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`segkit ...` as a process of its own, to its end."""
    process = start_segkit(*args, cwd=cwd)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def environment() -> dict[str, str]:
    """For commands that share the machine with other tests."""
    return os.environ | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}


def files_below(folder: Path) -> set[str]:
    """Every file, by its path below the folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
