"""The display of a pipeline's progress, in a pseudo-terminal and in a log."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.execution.display import Display
from segkit.core.progress import Progress

GRAPH = {"data": set[str](), "teacher": {"data"}, "gan": {"data"}, "report": {"teacher", "gan"}}

RUNNER = """
import signal, sys
from dataclasses import replace
from pathlib import Path
from pipelines.execution import process, runner
from segkit.cli.recipes import resolve
process.PATIENCE_S = 0.5
def end(*_): raise SystemExit(143)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, signal.default_int_handler)
runner._command = lambda item: [sys.executable, "-c", sys.argv[3], "stage", item.stage.name]
planned = resolve("cross-validate", Path(sys.argv[1]), (), None).plan(Path(sys.argv[2]))[:2]
ready = [replace(item, stage=replace(item.stage, inputs={}, after=())) for item in planned]
try:
    runner.run(ready, print, parallel=2)
except KeyboardInterrupt:
    sys.exit(130)
"""

STAGE = """
import sys, time
from segkit.core.progress import Reporter
reporter = Reporter(sys.argv[2] + " phase 1/2", interval_s=0)
for step in (1, 2, 3):
    time.sleep(0.01)
    reporter.is_due(step)
    reporter.report(step, 8, "step", ", loss 0.5")
print("a line", flush=True)
time.sleep(60)
"""


def display(monkeypatch: pytest.MonkeyPatch, parallel: int, **seconds: float) -> Display:
    """Of `GRAPH`, at 100 s."""
    monkeypatch.setattr("pipelines.execution.display.time.monotonic", lambda: 100.0)
    shown = Display(GRAPH, print, parallel, lambda: seconds)
    return shown.__enter__()


@pytest.mark.parametrize(("parallel", "left"), [(1, ", about 22 s left"), (2, ", about 16 s left")])
def test_time_left_is_that_of_the_last_time(monkeypatch: pytest.MonkeyPatch, parallel: int, left: str) -> None:
    shown = display(monkeypatch, parallel, data=1, teacher=10, gan=6, report=5)
    assert shown.time_left == left


def test_one_stage_of_unknown_duration_leaves_the_estimate_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = display(monkeypatch, 1, data=1, teacher=10, report=5)
    assert shown.time_left == ""
    shown.end("gan", "done before")
    assert shown.time_left == ", about 16 s left"


def test_a_running_loop_corrects_what_the_last_time_took(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = display(monkeypatch, 1, data=1, teacher=10, gan=6, report=5)
    shown.start("teacher")
    shown.show("teacher", Progress("teacher", "step", 10, 100, rate=3.0))
    assert shown.time_left == ", about 42 s left"
    monkeypatch.setattr("pipelines.execution.display.time.monotonic", lambda: 111.0)
    shown.show("teacher", None)
    assert shown.time_left == ""  # it takes longer than the last time, and no loop shows how long


def start(tmp_path: Path, output: int) -> "subprocess.Popen[bytes]":
    """Two stages at a time, with the given standard output and error."""
    config = tmp_path / "cv.yaml"
    config.write_text("data: {source: phantom}\n")
    command = [sys.executable, "-c", RUNNER, str(config), str(tmp_path / "runs"), STAGE]
    return subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | {"TERM": "xterm", "COLUMNS": "120"})


def read_until(terminal: int, *patterns: str) -> str:
    """What the terminal gets until it has all patterns; to its end without patterns."""
    text = ""
    while not patterns or not all(re.search(pattern, text) for pattern in patterns):
        try:
            text += os.read(terminal, 65536).decode()
        except OSError:  # closed at the other end
            break
    return text


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_a_terminal_shows_both_stages_and_is_left_clean(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    terminal, output = pty.openpty()
    with start(tmp_path, output) as runner:
        os.close(output)
        rows = [rf"{name} phase 1/2 .* step 3/8, \d+\.\d\d steps/s, 0 s left, loss 0\.5" for name in ("data", "fold-0")]
        read_until(terminal, *rows, r"stages: 2 running", r"data \| a line", r"fold-0 \| a line")
        runner.send_signal(sent)
        rest = read_until(terminal)
        assert runner.wait(20) == code
    os.close(terminal)
    assert rest.rindex("\x1b[?25h") > rest.rfind("\x1b[?25l")  # the cursor is shown
    last = rest[rest.rindex("\x1b[?25h") :]
    assert "stages: 2 interrupted, in " in last
    assert " step " not in last


def test_a_log_gets_no_control_characters(tmp_path: Path) -> None:
    read, output = os.pipe()
    with start(tmp_path, output) as runner:
        os.close(output)
        shown = read_until(read, r"data \| a line", r"fold-0 \| a line")
        runner.send_signal(signal.SIGINT)
        shown += os.read(read, 65536).decode()
        assert runner.wait(20) == 130
    os.close(read)
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", shown)
    assert "data | data phase 1/2: step 3/8" in shown
