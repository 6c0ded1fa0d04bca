"""The whole pipeline on tiny phantoms."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from segkit.core import images
from segkit.core.manifest import read_manifest
from tests.pipelines.tiny import (
    STAGES,
    environment,
    files_below,
    launch_here,
    plan,
    run_here,
    segkit_here,
    start_segkit,
)

pytestmark = pytest.mark.slow

NETWORK = {"model.json", "model.safetensors"}
SNAPSHOT = {"generator_ema.safetensors", "settings.json"}
PHANTOMS = {
    "test": ["01_test", "02_test"],
    "training": [f"{number}_training" for number in range(21, 27)],
}


def stage_of(folder: str) -> str:
    """The stage's name without its fingerprint."""
    return re.sub(r"-[0-9a-f]{12}$", "", folder)


def states(runs: Path) -> dict[str, int]:
    """When each finished stage was finished, by folder."""
    return {path.parent.name: path.stat().st_mtime_ns for path in runs.glob("*/done.json")}


def copy(runs: Path, target: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(runs, target, copy_function=shutil.copy2)


def test_a_run_writes_these_files_and_no_others(finished_runs: Path) -> None:
    files: dict[str, set[str]] = {}
    for file in files_below(finished_runs):
        folder, _, rest = file.partition("/")
        files.setdefault(stage_of(folder), set()).add(rest)
    manuals = {name: f"{name[:2]}_manual1.gif" for names in PHANTOMS.values() for name in names}
    val = {row.name for row in read_manifest(next(finished_runs.glob("data-*"))).split("val").rows}
    assert len(val) == 2
    scored = {"teacher", "mixed", "mixed-control", "ensemble"}
    expected = {
        "data": {"checks.json", "manifest.json"}
        | {f"images/{name}.tif" for name in manuals}
        | {f"region/{name}_mask.gif" for name in manuals}
        | {f"reference/{manual}" for manual in manuals.values()},
        "teacher": {*NETWORK, "curves-0.csv"},
        "mixed": {*NETWORK, "curves-0.csv", "curves-1.csv"},
        "mixed-control": {*NETWORK, "curves-0.csv", "curves-1.csv"},
        "gan": {
            "curves.csv", "settings.json", "generator.safetensors", "generator_ema.safetensors",
            "discriminator.safetensors", "grids/reals.png", "grids/kimg000000.000.png",
        }
        | {f"grids/kimg000000.0{images}.png" for images in (40, 80)}
        | {f"snapshots/kimg000000.0{images}/{file}" for images in (40, 80) for file in SNAPSHOT},
        "samples": {"manifest.json"} | {f"{kind}/seed{i:04d}.png" for kind in ("images", "fov") for i in range(4)},
        "fidelity": {"fidelity.json", "fidelity.csv", "fidelity.txt", "nearest.csv", "nearest.png"},
        "pseudo-labels": {"manifest.json"} | {f"pseudo/seed{i:04d}.png" for i in range(4)},
        "ensemble": {"model.json"} | {f"members/{name}/{file}" for name in ("teacher", "mixed") for file in NETWORK},
        "evaluate": {"measurements.json", "tables.txt"}
        | {f"scores/{split}-{model}.npz" for split in ("test", "val") for model in scored}
        | {
            f"predictions/{model}/{kind}/{name}.png"
            for model in scored
            for kind in ("probs", "binary")
            for name in {*PHANTOMS["test"], *val}
        }
        | {f"predictions/{model}/predictions.json" for model in scored},
        "report": {"report.html", "verdict.json", "comparisons.json"},
    }  # fmt: skip
    books = {"done.json", "request.yaml"}
    for stage in STAGES:
        assert files[stage] - books == expected[stage], stage
        assert files[stage] >= books, stage
    assert set(files) == {*STAGES, ".requests", ".locks"}
    assert files[".requests"] == {f"{folder}.yaml" for folder in states(finished_runs)}


def test_predictions_have_the_size_of_the_images(finished_runs: Path) -> None:
    evaluate = next(finished_runs.glob("evaluate-*"))
    for path in evaluate.glob("predictions/*/*/*.png"):
        assert images.read_size(path) == (48, 52)


def test_every_model_is_scored_on_every_labelled_split(finished_runs: Path) -> None:
    measured = json.loads((next(finished_runs.glob("evaluate-*")) / "measurements.json").read_text())
    assert {split: set(runs) for split, runs in measured.items()} == {
        split: {"teacher", "mixed", "mixed-control", "ensemble"} for split in ("test", "val")
    }


NOTHING_TO_DO = """
import sys
from segkit.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print("loaded:", *sorted({"torch", "lightning", "numpy.random"} & sys.modules.keys()))
    sys.exit(end.code)
"""


def test_a_second_run_does_nothing_and_is_quick_about_it(finished_runs: Path, tmp_path: Path, config: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_runs.rglob("*")}
    command = ["pipeline", "run", "synthetic-aug", "-c", str(config), "--runs", str(finished_runs)]
    start = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", NOTHING_TO_DO, *command],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert time.monotonic() - start < 3
    *lines, report, loaded = ended.stdout.splitlines()
    assert [line.split()[1:3] for line in lines] == [[f"{stage}:", "done"] for stage in STAGES]
    assert report == f"report: {next(finished_runs.glob('report-*'))}/report.html"
    assert loaded == "loaded:"
    assert {path: path.stat().st_mtime_ns for path in finished_runs.rglob("*")} == before
    assert list(tmp_path.iterdir()) == [config]


def test_a_student_s_changed_epochs_run_it_its_control_and_what_follows_again(
    finished_runs: Path, tmp_path: Path, config: Path
) -> None:
    runs = copy(finished_runs, tmp_path / "runs")
    before = states(runs)
    said = run_here(config, runs, "students.mixed.phases.0.epochs=2")
    after = states(runs)
    assert {stage_of(name) for name in after.keys() - before.keys()} == {
        "mixed", "mixed-control", "ensemble", "evaluate", "report",
    }  # fmt: skip
    assert {name: after[name] for name in before} == before
    assert [line.split()[1] for line in said if ": done (" in line] == [f"{stage}:" for stage in STAGES[:6]]


def test_a_deleted_output_is_made_again_bit_for_bit_and_nothing_else_is(
    finished_runs: Path, tmp_path: Path, config: Path
) -> None:
    runs = copy(finished_runs, tmp_path / "runs")
    before = states(runs)
    victim = next(runs.glob("pseudo-labels-*")) / "pseudo" / "seed0002.png"
    content = victim.read_bytes()
    victim.unlink()
    run_here(config, runs)
    after = states(runs)
    assert victim.read_bytes() == content
    assert {stage_of(name) for name in before if before[name] != after[name]} == {"pseudo-labels"}


def test_a_stage_of_a_recipe_s_settings_is_the_pipeline_s(finished_runs: Path, tmp_path: Path, config: Path) -> None:
    data = next(finished_runs.glob("data-*"))
    out = tmp_path / "teacher"
    assert segkit_here("stage", "teacher", "-c", str(config), "--input", f"data={data}", "--out", str(out)) == 0
    theirs = next(finished_runs.glob("teacher-*"))
    assert (out / "model.safetensors").read_bytes() == (theirs / "model.safetensors").read_bytes()
    ours, recorded = (json.loads((folder / "done.json").read_text()) for folder in (out, theirs))
    assert ours["fingerprint"] == recorded["fingerprint"]
    assert ours["outputs"] == recorded["outputs"]


def test_a_second_round_runs(finished_runs: Path, tmp_path: Path, config: Path) -> None:
    runs = copy(finished_runs, tmp_path / "runs")
    said = run_here(config, runs, "rounds=2")
    ran = [line.split()[1].rstrip(":") for line in said if "running" in line]
    assert ran == [
        "select-r2", "gan-r2", "samples-r2", "fidelity-r2", "pseudo-labels-r2", "mixed-r2",
        "ensemble", "evaluate", "report",
    ]  # fmt: skip
    chosen = json.loads((next(runs.glob("select-r2-*")) / "selection.json").read_text())
    best = max(chosen["val_dice"], key=lambda name: chosen["val_dice"][name])
    assert chosen["chosen"] == best
    first, second = next(runs.glob("samples-[!r]*")), next(runs.glob("samples-r2-*"))
    assert (first / "images/seed0000.png").read_bytes() != (second / "images/seed0000.png").read_bytes()


def test_two_runs_on_one_folder_take_turns(config: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = ["pipeline", "run", "synthetic-aug", "-c", str(config), "--runs", str(runs), "--upto", "data"]
    with start_segkit(*command, cwd=tmp_path) as first:
        holder = wait_for_holder(runs)
        os.kill(holder, signal.SIGSTOP)
        try:
            with start_segkit(*command, cwd=tmp_path) as second:
                assert second.stdout is not None
                assert second.stdout.readline().startswith("[1/1] data: r")
                waiting = second.stdout.readline()
                os.kill(holder, signal.SIGCONT)
                rest = second.stdout.read()
                first.communicate(timeout=120)
        finally:
            with suppress(ProcessLookupError):
                os.kill(holder, signal.SIGCONT)
    assert (first.returncode, second.returncode) == (0, 0)
    (folder,) = runs.glob("data-*")
    assert waiting.startswith(f"waiting for process {holder} on {os.uname().nodename} (since ")
    assert waiting.endswith(f"which is writing {folder}\n")
    assert rest.startswith(f"{folder} is done already\n[1/1] data: finished in ")


def wait_for_holder(runs: Path) -> int:
    """The process that writes the only stage there is."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for note in runs.glob(".locks/data-*.json"):
            return int(json.loads(note.read_text())["pid"])
        time.sleep(0.01)
    raise AssertionError("no stage was begun")


def test_the_data_may_move_between_two_runs(finished_runs: Path, phantoms: Path, tmp_path: Path, config: Path) -> None:
    here, there = shutil.copytree(phantoms, tmp_path / "here"), tmp_path / "there"
    runs = tmp_path / "runs"
    run_here(config, runs, data=f"drive:{here}", upto="teacher")
    here.rename(there)
    assert all("done" in line for line in run_here(config, runs, data=f"drive:{there}", upto="teacher"))
    # the images themselves are the finished run's, which were drawn from the same settings
    same = [next(folder.glob("data-*")) / "images" / "21_training.tif" for folder in (runs, finished_runs)]
    assert same[0].read_bytes() == same[1].read_bytes()


def test_the_launched_command_is_one_a_user_can_type(finished_runs: Path, tmp_path: Path, config: Path) -> None:
    runs = copy(finished_runs, tmp_path / "runs")
    typed: list[str] = []

    def remember(command: object) -> int:
        typed.extend(command)  # type: ignore[call-overload]
        return launch_here(typed)

    from pipelines.execution.runner import run

    (next(runs.glob("samples-*")) / "manifest.json").unlink()
    run(plan(config, runs), print, remember)
    samples, gan, data = (next(runs.glob(f"{name}-*")) for name in ("samples", "gan", "data"))
    assert typed[typed.index("stage") :] == [
        "stage", "samples", "-c", str(runs / ".requests" / f"{samples.name}.yaml"),
        "--input", f"gan={gan}", "--input", f"data={data}", "--out", str(samples),
    ]  # fmt: skip
