"""A run that is ended from outside goes on with the same command, and ends as if nothing had happened."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segkit.core.run_folder import WORK
from tests.end_to_end import kill_test
from tests.pipelines.tiny import environment, run_here, start_segkit

pytestmark = pytest.mark.slow

LONGER = ("students.mixed.phases.0.epochs=40", "control.enabled=false")
"""A student whose training takes seconds."""


@pytest.fixture(scope="module")
def undisturbed(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder in which the student was trained in one go."""
    runs = shutil.copytree(finished_runs, tmp_path_factory.mktemp("undisturbed") / "runs")
    run_here(finished_runs.parent / "tiny.yaml", runs, *LONGER, upto="mixed")
    return runs


@pytest.mark.parametrize(
    ("sent", "code", "words"),
    [
        (signal.SIGINT, 130, "interrupted; run the same command again"),
        (signal.SIGTERM, 143, "terminated; run the same command again"),
    ],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_runner_that_is_told_to_end_ends_its_stage_and_the_same_command_goes_on(
    finished_runs: Path, undisturbed: Path, tmp_path: Path, config: Path, sent: signal.Signals, code: int, words: str
) -> None:
    runs = shutil.copytree(finished_runs, tmp_path / "runs")
    _python, _m, _segkit, *command = kill_test.pipeline_command(config, runs, "mixed", LONGER)
    with start_segkit(*command, cwd=tmp_path) as runner:
        training = wait_for_checkpoint(runs)
        note = (runs / ".locks" / f"{training.name}.json").read_text()
        runner.send_signal(sent)  # to the runner alone, as `kill` does
        out, err = runner.communicate(timeout=60)
    assert runner.returncode == code
    assert err.strip() == words
    last = [line for line in out.splitlines() if line.startswith("[")][-1]  # after it only progress
    assert last.startswith("[6/6] mixed: running")
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.split('"pid": ')[1].split(",")[0]), 0)
    assert not (training / "done.json").exists()
    said = run_here(config, runs, *LONGER, upto="mixed")
    assert f"[6/6] mixed: resuming ({training.name})" in said
    assert kill_test.differences(undisturbed, runs) == []


def wait_for_checkpoint(runs: Path) -> Path:
    """The folder of the stage that has just written a checkpoint."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for checkpoint in runs.glob(f"mixed-*/{WORK}/phase-0/last.ckpt"):
            return checkpoint.parents[2]
        time.sleep(0.02)
    raise AssertionError("no stage has written a checkpoint")


def test_a_run_that_is_killed_twice_ends_like_an_undisturbed_one(
    finished_runs: Path, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill_test.py` kills at random moments; here the moments are those at which there is something to lose.

    `test_gan_interruption.py` kills the training of the GAN, which is finished here.
    """
    monkeypatch.setattr(os, "environ", environment())
    longer = ("teacher.phases.0.epochs=20", "samples.num_images=40")
    undisturbed, killed, log = (tmp_path / name for name in ("undisturbed", "killed", "log"))
    for stage in ("data", "gan"):
        folder = next(finished_runs.glob(f"{stage}-*"))
        for runs in (undisturbed, killed):
            shutil.copytree(folder, runs / folder.name)
    run_here(config, undisturbed, *longer, upto="pseudo-labels")
    for stage, awaited in (("teacher", f"teacher-*/{WORK}/*/last.ckpt"), ("samples", "samples-*/images/*")):
        command = kill_test.pipeline_command(config, killed, stage, longer)
        assert kill_test.run_and_kill(command, log, lambda _, awaited=awaited: any(killed.glob(awaited)))
        assert not list(killed.glob(f"{stage}-*/done.json"))
    log_of_the_rest = run_here(config, killed, *longer, upto="pseudo-labels")
    assert kill_test.differences(undisturbed, killed) == []
    assert kill_test.num_compared(killed) > 40
    assert {line.split()[1] for line in log_of_the_rest if ": resuming (" in line} == {"teacher:", "samples:"}


def test_random_moments_depend_on_the_seed_and_are_spread_about_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    moments = [
        [float(words.split()[1]) for words in kill_test.torment(sleep, tmp_path / "log", 3, 0.05, seed)]
        for seed in (0, 0, 1)
    ]
    assert moments[0] == moments[1] != moments[2]
    assert all(0 <= moment <= 0.1 for moment in moments[0])


def test_a_kill_leaves_no_process_behind(tmp_path: Path) -> None:
    """What the script means by killing: the child of the child is gone too."""
    child = f"import time; open({str(tmp_path / 'child')!r}, 'w').close(); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
    while not (tmp_path / "child").exists():
        time.sleep(0.01)
    assert len(list(kill_test._states(process.pid))) == 2
    kill_test.kill_group(process.pid)
    process.wait()
    assert not set(kill_test._states(process.pid)) - {"Z"}


def test_what_differs_between_two_runs_is_told(finished_runs: Path, tmp_path: Path) -> None:
    one, two = (shutil.copytree(finished_runs, tmp_path / name) for name in ("one", "two"))
    assert kill_test.differences(one, two) == []
    teacher, gan, samples = (next(two.glob(f"{name}-*")) for name in ("teacher", "gan", "samples"))
    (teacher / "done.json").unlink()
    text = (gan / "done.json").read_text()
    start = text.index('"sha256": "') + len('"sha256": "')
    (gan / "done.json").write_text(text[:start] + "0" * 64 + text[start + 64 :])
    (samples / "work").mkdir()
    (samples / "images" / ".tmp-seed").touch()
    assert kill_test.differences(one, two) == [
        f"{teacher.name} is finished in one run only",
        f"{gan.name}/curves.csv differs",
        f"{samples.name}/work is left over",
        f"{samples.name}/images/.tmp-seed is left over",
    ]
