"""The command line as a whole: help, laziness, exit codes, the words of errors."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import torch

from pipelines.execution.process import ExitCode
from pipelines.fidelity.assess import TooManyCopiesError
from segkit import __version__, cli
from segkit.cli import errors
from segkit.core.errors import ConfigError, SegkitError
from tests.configs.commands import command_paths
from tests.pipelines.tiny import environment, run_segkit, segkit_here

HEAVY = ("torch", "lightning", "torchmetrics", "monai", "albumentations", "scipy", "skimage", "matplotlib", "wandb")

LOADED = """
import sys
from segkit.cli import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def loaded_by(*args: str, cwd: Path) -> tuple[set[str], float]:
    """Top-level packages that a command loads, and the seconds the process takes."""
    start = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", LOADED, *args], cwd=cwd, env=environment(), capture_output=True, text=True, check=True
    )
    seconds = time.monotonic() - start
    last = process.stdout.splitlines()[-1]
    assert last.startswith("loaded: ")
    return set(last.split()[1:]), seconds


def test_help_is_there_at_once_and_loads_nothing(tmp_path: Path) -> None:
    # 0.08 s where nobody else computes; the bound leaves room for those who do
    loaded, seconds = loaded_by("--help", cwd=tmp_path)
    assert not loaded & {*HEAVY, "numpy", "pydantic", "yaml", "rich", "PIL"}
    assert seconds < 1


def test_showing_a_pipeline_is_quick_and_loads_no_torch(tmp_path: Path) -> None:
    loaded, seconds = loaded_by("pipeline", "show", "synthetic-aug", cwd=tmp_path)
    assert not loaded & {*HEAVY, "numpy", "PIL"}
    assert seconds < 3


EVERY_HELP = """
import contextlib, io, sys
from segkit.cli import main
for line in sys.stdin:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([*line.split(), "--help"])
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_no_help_loads_torch(tmp_path: Path) -> None:
    lines = [" ".join(path) for path in command_paths()]
    assert {"", "pipeline run", "gan train", "predict", "stage"} < set(lines)
    ended = subprocess.run(
        [sys.executable, "-c", EVERY_HELP],
        input="\n".join(lines),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(ended.stdout.split())
    assert "segkit" in loaded
    assert not loaded & set(HEAVY)


def test_listing_pipelines_loads_no_torch(tmp_path: Path) -> None:
    assert not loaded_by("pipeline", "list", cwd=tmp_path)[0] & set(HEAVY)


def test_listing_models_loads_no_torch(tmp_path: Path) -> None:
    assert not loaded_by("models", cwd=tmp_path)[0] & set(HEAVY)


def test_listing_runs_loads_no_torch(tmp_path: Path) -> None:
    assert not loaded_by("runs", "list", "--runs", ".", cwd=tmp_path)[0] & set(HEAVY)


def test_planning_loads_no_torch_even_where_there_is_data_to_digest(
    tmp_path: Path, config: Path, phantoms: Path
) -> None:
    args = ("synthetic-aug", "-c", str(config), "--runs", "runs", "--data", f"drive:{phantoms}")
    for verb in (["run", "--dry-run"], ["status"]):
        assert not loaded_by("pipeline", verb[0], *args, *verb[1:], cwd=tmp_path)[0] & set(HEAVY)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_of_the_table_can_be_loaded_and_says_what_it_does(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segkit_here(name, "--help") == 0
    assert f"segkit {name}" in capsys.readouterr().out
    assert cli.COMMANDS[name][1].endswith(".")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("--help") == 0
    out = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if f"\n  {name} " not in out] == []


def test_python_m_segkit_is_the_same(tmp_path: Path) -> None:
    ended = run_segkit("--version", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, f"segkit, version {__version__}\n")


def test_the_console_script_is_the_same(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("segkit")
    ended = subprocess.run([script, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout == f"segkit, version {__version__}\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["pipelin"], "No such command 'pipelin'. Did you mean 'pipeline'? (see `segkit --help`)"),
        (["zzz"], "No such command 'zzz'. (see `segkit --help`)"),
        (["pipeline", "runn"], "No such command 'runn'. Did you mean 'run'? (see `segkit pipeline --help`)"),
        (["pipeline", "run"], "Missing argument 'NAME'. (see `segkit pipeline run --help`)"),
        (["bench", "--size", "x"], "Invalid value for '--size': 'x' is not a valid integer range. (see `segkit bench"),
        (["--nope"], "No such option '--nope'. (see `segkit --help`)"),
    ],
)
def test_a_mistyped_command_is_answered_in_one_line(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segkit_here(*args) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {words}")
    assert err.count("\n") == 1


def test_a_group_without_a_command_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("pipeline") == 2
    assert "status" in "".join(capsys.readouterr())


class Raises:
    """A command that ends with an exception."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def main(self, **_: object) -> None:
        raise self.error


def ended_by(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(cli, "cli", Raises(error))
    return segkit_here()


class StoppedError(SegkitError):
    exit_code = 1


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (StoppedError("a run failed"), 1, "error: a run failed\n"),
        (ConfigError("x.yaml: unknown key"), 2, "error: x.yaml: unknown key\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/a/b"),
            1,
            "error: /a/b: permission denied; choose another",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/b"),
            1,
            "error: no space left on the disk of /a; free some",
        ),
        (RuntimeError("basic_ios::clear: iostream error"), 1, "error: no space left on the disk; free some"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/a"),
            1,
            "error: /a: no such file or directory\n",
        ),
        (ValueError("a\nb"), 1, "error: ValueError: a b (a fault of segkit's; `segkit --debug ...` shows where)\n"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again\n"),
        (click.Abort(), 130, "interrupted; run the same command again\n"),
        (cli.Terminated(143), 143, "terminated; run the same command again\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_end_has_its_exit_code_and_its_words(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SEGKIT_DEBUG", raising=False)
    assert ended_by(error, monkeypatch) == code
    assert capsys.readouterr().err.startswith(words)


def test_a_full_disk_is_told_even_where_another_error_hides_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = RuntimeError("a worker died")
    hidden.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/from/a", None, "/to/b")
    assert ended_by(hidden, monkeypatch) == 1
    assert capsys.readouterr().err.startswith("error: no space left on the disk of /to; free some")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a capacity of 139 GiB"),
            "CUDA out of memory",
        ),
        (MemoryError(), "MemoryError"),
    ],
    ids=["GPU", "host"],
)
def test_too_little_memory_is_no_fault_of_segkit_s(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended_by(error, monkeypatch) == 1
    assert capsys.readouterr().err.startswith(f"error: out of memory ({reason}); end what else needs it here, or ")


def test_memory_that_torch_cannot_get_is_too_little_memory() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**50)
    assert errors.is_out_of_memory(refused.value)
    assert errors.exit_code(refused.value) == ExitCode.ENVIRONMENT
    assert errors.explain(refused.value).startswith("out of memory (can't allocate memory: you tried to allocate ")


LOST = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:58250.")


@pytest.mark.parametrize(
    ("rank", "words"),
    [("0", "error: another rank of this stage exited; see its error above\n"), ("1", "")],
)
def test_a_rank_that_lost_another_points_to_it_and_all_but_the_first_keep_quiet(
    rank: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert ended_by(LOST, monkeypatch) == 1
    assert capsys.readouterr().err == words


def test_a_rank_that_lost_the_others_while_it_failed_says_why_it_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    lost = RuntimeError(str(LOST))
    lost.__context__ = ConfigError("the image is damaged")
    assert ended_by(lost, monkeypatch) == 2
    assert capsys.readouterr().err == "error: the image is damaged\n"


def test_an_interrupt_that_lightning_makes_an_exit_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = SystemExit(1)
    made.__context__ = KeyboardInterrupt()
    assert ended_by(made, monkeypatch) == 130
    assert capsys.readouterr().err == "interrupted; run the same command again\n"


def test_an_error_in_consequence_of_being_told_to_end_is_not_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def half_imported(**_: object) -> None:
        try:  # as numpy's own imports do
            signal.raise_signal(signal.SIGTERM)
        except BaseException:
            raise RecursionError("maximum recursion depth exceeded") from None

    monkeypatch.setattr(cli, "cli", type("Command", (), {"main": staticmethod(half_imported)}))
    assert segkit_here() == 143
    assert capsys.readouterr().err == "terminated; run the same command again\n"
    assert ended_by(ValueError("later"), monkeypatch) == 1


def test_a_stage_leaves_it_to_the_runner_to_print_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGKIT_UNDER_RUNNER", "1")
    assert ended_by(KeyboardInterrupt(), monkeypatch) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "status", "alone"),
    [
        (ConfigError("no such key"), 2, 2),
        (OSError(errno.ENOSPC, "No space left on device"), 3, 1),
        (RuntimeError("[enforce fail at inline_container.cc:664] . file write failed"), 3, 1),
        (SegkitError("cannot lock runs"), 3, 1),
        (TooManyCopiesError("5 of 5 images are copies"), 4, 1),
        (ValueError("a fault"), 1, 1),
        (LOST, 1, 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_stage_has_more_exit_codes_under_the_runner(
    error: Exception, status: int, alone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ended_by(error, monkeypatch) == alone
    monkeypatch.setenv("SEGKIT_UNDER_RUNNER", "1")
    assert ended_by(error, monkeypatch) == status


def test_a_traceback_is_shown_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGKIT_DEBUG", "1")
    assert ended_by(ValueError("deep"), monkeypatch) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("position", [0, 1, 2])
def test_debug_may_stand_anywhere_and_reaches_the_stages(position: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGKIT_DEBUG", "")
    args = ["pipeline", "list"]
    args.insert(position, "--debug")
    assert segkit_here(*args) == 0
    assert os.environ["SEGKIT_DEBUG"] == "1"


def test_after_two_hyphens_debug_is_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGKIT_DEBUG", "")
    assert segkit_here("report", "--", "--debug") == 2
    assert os.environ["SEGKIT_DEBUG"] == ""


def test_a_closed_pipe_is_no_error_to_speak_of(tmp_path: Path) -> None:
    command = f"{sys.executable} -m segkit pipeline show synthetic-aug | head -n 1"
    ended = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("# synthetic-aug")
    assert ended.stderr == ""


def test_the_caller_s_answer_to_sigterm_is_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert segkit_here("pipeline", "list") == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    "args",
    [
        ["bench"],
        ["bench", "gan"],
        ["evaluate", "maps", "--data", "drive:nowhere"],
        ["gan", "evaluate", "--weights", "nowhere", "--features", "nowhere"],
    ],
)
def test_numbers_that_could_not_be_written_are_not_computed(args, tmp_path, capsys):
    assert segkit_here(*args, "--json", str(tmp_path)) == 2
    assert f"--json {tmp_path} is a folder; name a file" in capsys.readouterr().err
