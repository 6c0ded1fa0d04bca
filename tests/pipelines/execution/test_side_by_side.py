"""Stages that run at the same time."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.execution import process
from pipelines.execution.display import Display
from pipelines.execution.process import Launcher
from pipelines.execution.runner import Planned, StageFailedError, run
from segkit.cli.recipes import resolve
from tests.pipelines.execution.test_runner import FakeLauncher
from tests.pipelines.recipes.test_cross_validate import write


class Counting(FakeLauncher):
    """Takes a moment for each stage, and counts how many run at once."""

    def __init__(self, **endings: int) -> None:
        super().__init__(**endings)
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def __call__(self, command: Sequence[str]) -> int:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        try:
            return super().__call__(command)
        finally:
            with self.lock:
                self.now -= 1


@pytest.fixture
def planned(tmp_path: Path) -> list[Planned]:
    """A cross-validation of three folds."""
    return resolve("cross-validate", write(tmp_path / "cv.yaml"), (), None).plan(tmp_path / "runs")


@pytest.mark.parametrize("parallel", [2, 3, 8])
def test_folds_run_at_the_same_time_each_after_what_it_needs(planned: list[Planned], parallel: int) -> None:
    launch = Counting()  # it fails if an input is missing
    assert sorted(run(planned, print, launch, parallel)) == sorted(item.stage.name for item in planned)
    assert launch.most == min(parallel, 3)
    assert launch.launched[0] == "data"
    assert launch.launched[-2:] == ["evaluate", "report"]
    assert run(planned, print, launch, parallel) == []


def test_after_a_failure_running_stages_are_completed_and_none_is_started(planned: list[Planned]) -> None:
    launch = Counting(**{"model-1": 1})
    with pytest.raises(StageFailedError) as raised:
        run(planned, print, launch, 3)
    assert raised.value.exit_code == 1
    assert "evaluate" not in launch.launched
    states = {item.stage.name: item.state for item in planned}
    assert states["model-1"] == "started"
    assert "started" not in [state for name, state in states.items() if name != "model-1"]
    rest = Counting()
    run(planned, print, rest, 3)
    assert set(rest.launched) == {name for name, state in states.items() if state != "done"}


def test_an_invalid_request_keeps_its_exit_code(planned: list[Planned]) -> None:
    with pytest.raises(StageFailedError) as raised:
        run(planned, print, Counting(data=2), 2)
    assert raised.value.exit_code == 2


def python(code: str, name: str = "fold-1") -> list[str]:
    return [sys.executable, "-c", code, "stage", name]


def test_each_line_of_a_stage_begins_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    launch = Launcher(2, 1, Display({}, print))
    assert launch(python("import sys; print('out'); print('err', file=sys.stderr, flush=True); sys.exit(3)")) == 3
    assert sorted(capsys.readouterr().out.splitlines()) == ["fold-1 | err", "fold-1 | out"]


@pytest.mark.parametrize(
    ("visible", "slots", "devices", "shares"),
    [
        ("4,5,6,7", 2, 2, {"4,5", "6,7"}),
        ("4,5,6,7", 2, "auto", {"4,5", "6,7"}),
        ("0,1", 2, 1, {"0", "1"}),
        ("0", 2, 1, {"0"}),
        ("", 2, 1, {""}),
    ],
)
def test_stages_divide_the_gpus(
    visible: str, slots: int, devices: int, shares: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    launch = Launcher(slots, devices, Display({}, print))
    for slot in range(slots):
        code = f"import os; open({str(tmp_path / str(slot))!r}, 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
        assert launch(python(code)) == 0
    assert {(tmp_path / str(slot)).read_text() for slot in range(slots)} == shares


def test_stages_divide_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = max(1, len(os.sched_getaffinity(0)) // 2)
    code = "import os, sys; sys.exit(int(os.environ['OMP_NUM_THREADS']))"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert Launcher(2, 1, Display({}, print))(python(code)) == cores
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert Launcher(2, 1, Display({}, print))(python(code)) == 7


RUNNER = """
import signal, sys
from dataclasses import replace
from pathlib import Path
from pipelines.execution import process, runner
from segkit.cli.recipes import resolve
process.GRACE_S = process.PATIENCE_S = 0.5
def end(*_): raise SystemExit(143)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, signal.default_int_handler)
planned = resolve("cross-validate", Path(sys.argv[1]), (), None).plan(Path(sys.argv[2]))
runner._command = lambda item: [sys.executable, "-c", sys.argv[3], "stage", item.stage.name]
ready = [replace(item, stage=replace(item.stage, inputs={}, after=())) for item in planned]
try:
    runner.run(ready, print, parallel=2)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_a_signal_to_the_runner_ends_all_stages(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    stage = (
        f"import os, time; open({str(tmp_path)!r} + f'/pid{{os.getpid()}}', 'w'); print('up', flush=True); "
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", RUNNER, str(write(tmp_path / "cv.yaml")), str(tmp_path / "runs"), stage]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        assert {"data | up\n", "fold-0 | up\n"} < {runner.stdout.readline() for _ in range(4)}
        runner.send_signal(sent)
        assert runner.wait(20) == code
    for path in tmp_path.glob("pid*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name.removeprefix("pid")), 0)


def test_gpus_are_found_without_the_variable_by_nvidia_s_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert process.visible_gpus() == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!{sys.executable}\nprint('GPU 0: H100 (UUID: GPU-a)\\nGPU 1: H100 (UUID: GPU-b)')\n")
    tool.chmod(0o755)
    assert process.visible_gpus() == ["0", "1"]
