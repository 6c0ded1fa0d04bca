import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from segkit.tasks import wandb_runs
from segkit.tasks.settings import RuntimeSettings
from segkit.tasks.tracking import WandbTracker, artifact_record, open_tracker
from segkit.tasks.wandb_runs import (
    RunLabel,
    connection_error,
    logged_in,
    may_upload,
    offline_if_unreachable,
    server,
    without_folders,
)

LABEL = RunLabel("teacher-1", "teacher 1", "teacher")


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No login, no settings of W&B's and no proxy."""
    for name in os.environ:
        if name.startswith("WANDB_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@contextmanager
def listening() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The address of a server that answers every request with this status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def closed_port() -> str:
    with listening() as address:
        return address


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_a_server_that_answers_is_there_whatever_it_answers(status: int) -> None:
    with answering(status) as address:
        assert connection_error(address) is None


def test_a_server_that_refuses_or_does_not_answer_is_not_there() -> None:
    begun = time.monotonic()
    assert "refused" in str(connection_error(closed_port()))
    with listening() as address:
        assert "timed out" in str(connection_error(address, timeout_s=0.1))
    assert connection_error("nonsense") is not None
    assert time.monotonic() - begun < 2


def test_a_server_that_is_not_there_makes_all_stages_offline_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", closed_port())
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    said: list[str] = []
    with offline_if_unreachable(said.append):
        assert os.environ["WANDB_MODE"] == "offline"
        assert not logged_in()
    assert "WANDB_MODE" not in os.environ
    assert len(said) == 1


def test_a_server_that_is_there_and_a_user_without_a_login_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setenv("WANDB_BASE_URL", closed_port())
    with offline_if_unreachable(said.append):
        assert "WANDB_MODE" not in os.environ
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with answering(200) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        with offline_if_unreachable(said.append):
            assert "WANDB_MODE" not in os.environ
    assert said == []


def test_the_server_is_the_environment_s_then_the_login_s_then_the_public_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server() == "https://api.wandb.ai"
    saved = tmp_path / "home" / ".config" / "wandb" / "settings"
    saved.parent.mkdir(parents=True)
    saved.write_text("[default]\nbase_url = https://wandb.lab.example\n")
    assert server() == "https://wandb.lab.example"
    saved.write_text("no settings")
    assert server() == "https://api.wandb.ai"
    monkeypatch.setenv("WANDB_BASE_URL", "http://here:8080")
    assert server() == "http://here:8080"


@pytest.mark.parametrize(
    ("path", "unasked", "asked"),
    [
        ("model.safetensors", True, True),
        ("members/teacher/model.safetensors", True, True),
        ("curves-0.csv", True, True),
        ("measurements.json", True, True),
        ("generator_ema.safetensors", False, True),
        ("snapshots/kimg1/generator_ema.safetensors", False, True),
        ("images/21_training.tif", False, True),
        ("report.html", False, True),
        ("nearest.csv", False, True),
        ("manifest.json", False, True),
        ("scores/test-teacher.npz", False, True),
        ("what-comes-later.json", False, True),
        ("work/model.safetensors", False, False),
        ("wandb/record.json", False, False),
    ],
)
def test_unasked_only_files_with_known_names_are_uploaded(path: str, unasked: bool, asked: bool) -> None:
    assert may_upload(path, share_images=False) is unasked
    assert may_upload(path, share_images=True) is asked


def test_a_configuration_has_no_folders_and_no_lists_of_sections() -> None:
    given = {
        "data": {"source": "drive:/clinic/Mustermann", "group_pattern": "^(Mustermann|.*)_", "num_val": 4},
        "gan": {"init_from": "/home/me/ffhq.pkl", "kimg": 2},
        "teacher": {"phases": ({"epochs": 2, "init_from": "previous"}, {"epochs": 3})},
        "widths": (4, 8),
        "empty": [],
        "none": {"source": None, "init_from": None},
    }
    digest = hashlib.sha256(b"^(Mustermann|.*)_").hexdigest()
    assert without_folders(given) == {
        "data": {"source": "drive", "group_pattern": f"sha256:{digest}", "num_val": 4},
        "gan": {"init_from": "ffhq.pkl", "kimg": 2},
        "teacher": {"phases": {"0": {"epochs": 2, "init_from": "previous"}, "1": {"epochs": 3}}},
        "widths": [4, 8],
        "empty": [],
        "none": {"source": None, "init_from": None},
    }


def test_an_artifact_s_record_has_counts_and_digests_and_no_file_names() -> None:
    outputs = {name: {"sha256": name, "bytes": 1} for name in ("images/Mustermann.tif", "images/b.tif", "LICENSE")}
    record = {
        "fingerprint": "f",
        "inputs": {"data": {"folder": "/home/Mustermann/data-1", "fingerprint": "d"}},
        "outputs": outputs,
        "settings": {"source": "drive:/Mustermann"},
    }
    shown = artifact_record(record)
    assert "Mustermann" not in str(shown)
    assert (shown["inputs"], shown["num_files"]) == ({"data": "d"}, {"none": 1, ".tif": 2})
    other = artifact_record(record | {"outputs": outputs | {"LICENSE": {"sha256": "x", "bytes": 1}}})
    assert other["outputs_sha256"] != shown["outputs_sha256"]


class BrokenRun:
    """A W&B run whose service has died."""

    def define_metric(self, *args: object, **given: object) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        return self._fail

    def _fail(self, *args: object, **given: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_run_that_breaks_ends_no_stage_and_prints_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wandb_runs, "start_run", lambda *_: (BrokenRun(), False))
    tracker = open_tracker(RuntimeSettings(tracker="wandb", share_images=True), tmp_path, LABEL, {})
    assert isinstance(tracker, WandbTracker)
    assert tracker.logger is not None
    tracker.logger.log_metrics({"train/loss": 1.0}, 1)
    tracker.images("key", {})
    tracker.summary({"dice": 0.5})
    tracker.output("teacher", "train", tmp_path, {"fingerprint": "f"}, [])
    tracker.close()
    out = capsys.readouterr().out
    assert out.count("warning: ") == out.count("\n") == 1


def test_a_wandb_that_cannot_begin_ends_no_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wandb_runs, "start_run", fail)
    tracker = open_tracker(RuntimeSettings(tracker="wandb"), tmp_path, LABEL, {})
    assert (tracker.run_id, tracker.logger) == (None, None)
    assert capsys.readouterr().out.count("warning: ") == 1


def test_sharing_images_does_not_change_what_a_result_is() -> None:
    assert RuntimeSettings(share_images=True).identity() == RuntimeSettings().identity()


def test_the_start_of_a_run_does_not_import_what_takes_most_of_its_time(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from segkit.tasks.wandb_runs import RunLabel, finish_run, start_run
run, online = start_run("p", RunLabel("a-1", "a", "a"), Path(sys.argv[1]), {})
finish_run(run, Path(sys.argv[1]))
sys.exit(online or "wandb.sdk.launch" in sys.modules)
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, env=environment | {"WANDB_MODE": "offline"}).returncode == 0
    assert not list(tmp_path.rglob("requirements.txt"))
