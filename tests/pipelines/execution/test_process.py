"""Starting a stage as a process, and ending it with its runner."""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from pipelines.execution.display import Display
from pipelines.execution.process import Launcher, check_num_nodes
from segkit.core.errors import RequestError

PATIENT = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM)]; {PATIENT}"

RUNNER = """
import signal, sys
from pipelines.execution import process
from pipelines.execution.display import Display
process.PATIENCE_S = 0.5
launch = process.Launcher(1, 1, Display({}, print))
def end(*_): raise SystemExit(143)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    launch([sys.executable, "-c", sys.argv[1]])
except BaseException as error:
    launch.stop(0.5)
    sys.exit(130 if isinstance(error, KeyboardInterrupt) else error.code)
"""


def launch(command: list[str]) -> int:
    """Run a command as a stage that runs alone."""
    return Launcher(1, 1, Display({}, print))(command)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("code", [0, 1, 2, 7])
def test_the_exit_code_is_the_stage_s(code: int) -> None:
    assert launch(python(f"raise SystemExit({code})")) == code


def test_the_signal_that_ended_the_stage_is_told() -> None:
    assert launch(python("import os; os.kill(os.getpid(), 9)")) == -9


def test_the_stage_s_words_go_where_ours_go(capfd: pytest.CaptureFixture[str]) -> None:
    launch(python("import sys; print('out'); print('err', file=sys.stderr)"))
    assert capfd.readouterr() == ("out\n", "err\n")


def test_a_stage_cannot_wait_for_somebody_to_type() -> None:
    stage = [sys.executable, "-c", "input('login? ')"]
    runner = python(f"from tests.pipelines.execution.test_process import launch; exit(launch({stage!r}))")
    ended = subprocess.run(runner, input="somebody\n", capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "EOFError" in ended.stderr


def test_a_stage_starts_its_own_group_of_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK"):
        monkeypatch.setenv(name, "1")
    for name in ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    check = "import os; exit(any(word in k for k in os.environ for word in ('RANK', 'MASTER', 'WORLD', 'SLURM')))"
    assert launch(python(check)) == 0
    assert launch(python("import os; exit(os.environ['CUDA_VISIBLE_DEVICES'] != '3')")) == 0


@pytest.mark.parametrize("stage", [PATIENT, STUBBORN], ids=["patient", "stubborn"])
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_a_runner_that_gets_a_signal_ends_its_stage_first(
    tmp_path: Path, stage: str, sent: signal.Signals, code: int
) -> None:
    note = tmp_path / "pid"
    stage = f"import os; open({str(note)!r}, 'w').write(str(os.getpid())); {stage}"
    with subprocess.Popen([*python(RUNNER), stage], stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == "up\n"
        runner.send_signal(sent)  # to the runner alone, as `kill` does
        assert runner.wait(10) == code
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_a_stage_that_ends_by_itself_when_interrupted_is_given_the_time(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    tidy = (
        f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\n"
        "try:\n print('up', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n print('caught', flush=True); time.sleep(0.4); print('tidied', flush=True)"
    )
    with subprocess.Popen([*python(RUNNER), tidy], stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == "up\n"
        os.kill(int(note.read_text()), signal.SIGINT)  # to both, as a terminal does
        assert runner.stdout.readline() == "caught\n"
        runner.send_signal(signal.SIGINT)
        assert runner.stdout.readline() == "tidied\n"
        assert runner.wait(10) == 130


@pytest.mark.parametrize(
    ("num_nodes", "environment", "refused"),
    [
        (1, {}, False),
        (2, {}, True),
        (2, {"SLURM_NTASKS": "1"}, True),
        (2, {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, False),
        (2, {"RANK": "0", "WORLD_SIZE": "8"}, False),
        (2, {"NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1"}, False),
    ],
)
def test_several_machines_need_a_launcher_that_joins_them(
    num_nodes: int, environment: dict[str, str], refused: bool
) -> None:
    with pytest.raises(RequestError) if refused else nullcontext():
        check_num_nodes(num_nodes, environment)
