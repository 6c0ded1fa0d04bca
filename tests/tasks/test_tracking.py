import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import wandb
from lightning.pytorch.utilities import rank_zero_only

from segkit.core import images
from segkit.tasks import wandb_runs
from segkit.tasks.settings import RuntimeSettings
from segkit.tasks.tracking import Tracker, WandbTracker, open_tracker
from segkit.tasks.wandb_runs import RunLabel, logged_in
from tests.reference.tasks_wandb import BLOCK, payloads, read_run
from tests.tasks import tracked

ROOT = Path(__file__).resolve().parents[2]
WANDB = RuntimeSettings(tracker="wandb", share_images=True)
LABEL = RunLabel("teacher-1", "teacher 1", "teacher")


@pytest.fixture(scope="module")
def stage(tmp_path_factory, phantoms):
    """A training run where nobody is logged in, nobody can answer, and W&B's own settings are nowhere."""
    out = tmp_path_factory.mktemp("tracked")
    home = tmp_path_factory.mktemp("home")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_") and key != "NETRC"}
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.tasks.tracked", str(phantoms.rows[0].image.path.parent), str(out)]
    done = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    stdout, stderr = done.communicate(timeout=120)
    assert done.returncode == 0, stderr[-3000:]
    return SimpleNamespace(out=out, stdout=stdout, stderr=stderr, session=done.pid, run=read_run(out))


def processes_of(session):
    """Command lines of the processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_without_a_login_a_run_is_written_offline_and_says_what_it_is(stage):
    run = stage.run
    assert (run["id"], run["name"], run["job_type"]) == ("teacher-0123abcd", "teacher 0123", "teacher")
    assert (run["group"], run["project"]) == ("run-7", "vessels")
    assert run["config"]["fingerprint"] == "0123abcd"
    assert run["tags"] == ["drive", "sa-unet"]
    assert run["config"]["settings"]["phases"]["0"]["schedule"]["name"] == "cosine"
    assert run["ended"]


@pytest.mark.slow
def test_its_metrics_are_those_of_the_curves_under_the_same_keys(stage):
    rows = json.loads(stage.stdout.splitlines()[-1])
    assert len(rows) == 3
    assert {"lr", "train/loss", "val/dice", "val/auroc", "epoch", "step"} <= set(rows[0])
    for key in rows[0]:
        logged = [said[key] for said in stage.run["history"] if key in said and (key != "epoch" or "val/dice" in said)]
        assert logged == pytest.approx([row[key] for row in rows], rel=1e-6), key
    assert stage.run["summary"]["val/best-dice"] == pytest.approx(max(row["val/dice"] for row in rows))


@pytest.mark.slow
def test_its_images_are_kept_with_their_captions(stage):
    (shown,) = [said["val/overlays"] for said in stage.run["history"] if "val/overlays" in said]
    assert shown["captions"] == ["21", "22"]
    for name, picture in zip(shown["filenames"], tracked.pictures().values(), strict=True):
        np.testing.assert_array_equal(images.read_image(stage.run["files"] / name), picture)


@pytest.mark.slow
def test_its_result_is_an_artifact_without_scratch_files(stage):
    (artifact,) = stage.run["artifacts"]
    assert (artifact.name, artifact.type) == ("teacher", "train")
    assert json.loads(artifact.metadata)["seconds"] == 3
    assert sorted(entry.path for entry in artifact.manifest.contents) == [
        "model.json", "predictions/21.png", "record.json",
    ]  # fmt: skip


@pytest.mark.slow
def test_nothing_is_asked_nothing_is_said_and_no_process_stays(stage):
    assert stage.stderr == ""
    assert len(stage.stdout.splitlines()) == 1
    assert processes_of(stage.session) == []
    assert processes_of(os.getsid(0)) != []  # that one would be seen


def test_records_that_run_over_blocks_are_put_together():
    """The reader itself, on a log written by W&B's rules: pieces never cross a block's end."""
    wanted = [b"a" * 10, b"b" * (3 * BLOCK), b"", b"c" * (BLOCK - 40), b"d" * 20, b"e"]
    assert payloads(written(wanted)) == wanted
    assert payloads(written(wanted)[:-1]) == wanted[:-1]
    damaged = bytearray(written(wanted))
    damaged[20] ^= 1
    with pytest.raises(AssertionError):
        payloads(bytes(damaged))


def written(records):
    import struct
    import zlib

    data = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
    for record in records:
        first = True
        while first or record:
            left = BLOCK - len(data) % BLOCK
            if left < 7:
                data += bytes(left)
                left = BLOCK
            piece, record = record[: left - 7], record[left - 7 :]
            kind = (1 if not record else 2) if first else (4 if not record else 3)
            data += struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
            first = False
    return data


def open_here(out, runtime=WANDB):
    return open_tracker(runtime, out, LABEL, {})


def test_other_ranks_and_other_trackers_track_nothing(tmp_path, monkeypatch):
    for kind in ("csv", "none"):
        assert type(open_here(tmp_path, RuntimeSettings(tracker=kind))) is Tracker
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    tracker = open_here(tmp_path)
    assert type(tracker) is Tracker
    assert tracker.logger is None
    tracker.images("key", {})
    tracker.summary({"a": 1})
    tracker.output("teacher", "train", tmp_path, {}, [])
    tracker.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disabled_wandb_tracks_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert type(open_here(tmp_path)) is Tracker


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """No login anywhere, and a home folder to put one into."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_login_is_a_key_in_the_environment_or_in_netrc(nobody, monkeypatch):
    assert not logged_in()
    (nobody / ".netrc").write_text("machine api.wandb.ai login user password 123\n")
    (nobody / ".netrc").chmod(0o600)
    assert logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.lab.example:8080/")
    assert not logged_in()
    (nobody / "other").write_text("machine wandb.lab.example:8080 login user password 123\n")
    (nobody / "other").chmod(0o600)
    monkeypatch.setenv("NETRC", str(nobody / "other"))
    assert logged_in()
    (nobody / "other").write_text("machine [\n\0")
    assert not logged_in()
    monkeypatch.setenv("WANDB_API_KEY", "123")
    assert logged_in()
    for mode in ("offline", "dryrun", "disabled"):
        monkeypatch.setenv("WANDB_MODE", mode)
        assert not logged_in()


class FakeRun:
    """Notes what is asked of a W&B run."""

    def __init__(self):
        self.asked = []
        self.summary = {}

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.asked.append((name, args))


def test_a_server_that_does_not_answer_leaves_the_run_offline(nobody, monkeypatch, capsys):
    calls = []

    def init(mode, **about):
        calls.append((mode, about["id"]))
        if mode == "online":
            raise wandb.errors.CommError("no route\nto host")
        return "run"

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "teardown", lambda: calls.append("teardown"))
    monkeypatch.setenv("WANDB_API_KEY", "123")
    assert wandb_runs.start_run("vessels", LABEL, nobody / "runs", {}) == ("run", False)
    assert calls == [("online", "teacher-1"), "teardown", ("offline", "teacher-1")]
    assert capsys.readouterr().out.startswith("W&B: no route to host; runs are written offline")


@pytest.mark.parametrize("online", [True, False])
def test_inputs_are_declared_where_they_can_be_looked_up(tmp_path, monkeypatch, online):
    run = FakeRun()
    monkeypatch.setattr(wandb_runs, "start_run", lambda *_: (run, online))
    monkeypatch.setattr(wandb_runs, "MAX_ARTIFACT_BYTES", 300)
    tracker = open_here(tmp_path)
    assert isinstance(tracker, WandbTracker)
    for name, size in (("model.json", 10), ("huge.pt", 301), ("work/last.ckpt", 1), ("wandb/x", 1), ("a/b.png", 100)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    tracker.output("teacher", "train", tmp_path, {"fingerprint": "f" * 64}, [f"data:{'d' * 64}", f"gan:{'e' * 64}"])
    used = [args[0] for name, args in run.asked if name == "use_artifact"]
    assert used == ([f"data:{'d' * 12}", f"gan:{'e' * 12}"] if online else [])
    ((artifact,),) = [args for name, args in run.asked if name == "log_artifact"]
    assert sorted(artifact.manifest.entries) == ["a/b.png", "model.json", "record.json"]
    assert artifact.metadata["fingerprint"] == "f" * 64
    tracker.summary({"dice": 0.8})
    assert run.summary == {"dice": 0.8}
    tracker.close()
    assert run.asked[-1][0] == "finish"
