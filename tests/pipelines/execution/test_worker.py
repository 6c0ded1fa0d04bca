"""One stage in this process: started, resumed, recorded."""

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.execution import worker
from pipelines.execution.process import UNDER_RUNNER
from pipelines.execution.worker import execute
from pipelines.stage import Stage, StageType, read_stage
from segkit.core import versions
from segkit.core.errors import RequestError
from segkit.core.run_folder import DONE, REQUEST, WORK, read_done
from segkit.tasks.settings import RuntimeSettings
from tests.pipelines.fake_stage import FakeSettings, Spy, result

FAKE = StageType("fake", FakeSettings, "tests.pipelines.fake_stage")
REQUESTED = Stage("fake", FAKE, FakeSettings(), runtime=RuntimeSettings(seed=7))


@pytest.fixture(autouse=True)
def _fresh_spy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Spy, "seen", [])
    monkeypatch.setattr(Spy, "fail_with", None)
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    return


def test_a_finished_stage_holds_its_outputs_its_request_and_its_record_and_nothing_else(tmp_path: Path) -> None:
    execute(REQUESTED, {}, tmp_path / "fake")
    files = {path.relative_to(tmp_path / "fake").as_posix() for path in (tmp_path / "fake").rglob("*")}
    assert files == {DONE, REQUEST, "deep", "deep/result.txt", "result.txt"}
    assert read_stage(tmp_path / "fake" / REQUEST, {"fake": FAKE}) == REQUESTED


def test_the_record_says_what_was_made_of_what_and_by_what(tmp_path: Path) -> None:
    execute(REQUESTED, {}, tmp_path / "one")
    execute(replace(REQUESTED, inputs={"earlier": "one"}), {"earlier": tmp_path / "one"}, tmp_path / "two")
    one, two = (json.loads((tmp_path / name / DONE).read_text()) for name in ("one", "two"))
    assert two["inputs"] == {"earlier": {"folder": "../one", "fingerprint": one["fingerprint"]}}
    assert one["fingerprint"] != two["fingerprint"]
    assert one["outputs"] == {
        "deep/result.txt": {"sha256": hashlib.sha256(b"hello").hexdigest(), "bytes": 5},
        "result.txt": {"sha256": hashlib.sha256(b"hellohello").hexdigest(), "bytes": 10},
    }
    assert one["settings"] == {"text": "hello"}
    assert one["runtime"]["seed"] == 7
    assert one["seconds"] >= 0
    assert {"segkit", "torch", "lightning", "python"} <= set(one["versions"])


def test_the_recorded_seconds_begin_when_the_runner_starts_the_process_and_leave_out_waiting_for_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def lock_after_a_while(folder: Path, on_wait: object) -> Iterator[None]:
        time.sleep(1)
        yield

    monkeypatch.setattr(worker, "lock_stage", lock_after_a_while)
    begin = time.monotonic()
    monkeypatch.setenv(UNDER_RUNNER, str(begin - 100))
    execute(REQUESTED, {}, tmp_path / "fake")
    recorded = json.loads((tmp_path / "fake" / DONE).read_text())["seconds"]
    assert 100 <= recorded < 99.5 + time.monotonic() - begin


def test_the_record_is_the_last_file_to_be_written_and_appears_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []
    real = Path.replace

    def spy(self: Path, target: Path) -> Path:
        if target.name == DONE:
            assert (target.parent / "result.txt").exists()
            json.loads(self.read_text())  # whole before it is moved into place
        moved.append(target.name)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    execute(REQUESTED, {}, tmp_path / "fake")
    assert moved[-1] == DONE
    assert moved.count(DONE) == 1


def test_a_done_stage_is_not_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute(REQUESTED, {}, tmp_path / "fake")
    execute(REQUESTED, {}, tmp_path / "fake")
    assert len(Spy.seen) == 1
    assert "is done already" in capsys.readouterr().out


def test_a_stage_on_other_devices_is_the_same_stage(tmp_path: Path) -> None:
    execute(REQUESTED, {}, tmp_path / "fake")
    execute(replace(REQUESTED, runtime=RuntimeSettings(seed=7, devices=2)), {}, tmp_path / "fake")
    assert len(Spy.seen) == 1


def test_a_failed_stage_is_not_done_and_goes_on_with_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spy, "fail_with", OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        execute(REQUESTED, {}, tmp_path / "fake")
    assert read_done(tmp_path / "fake") is None
    monkeypatch.setattr(Spy, "fail_with", None)
    execute(REQUESTED, {}, tmp_path / "fake")
    assert Spy.seen[1]["found"] == ["deep/result.txt", REQUEST, f"{WORK}/half-way", f"{WORK}/started"]
    assert read_done(tmp_path / "fake") is not None


def test_a_damaged_result_is_made_again_from_nothing(tmp_path: Path) -> None:
    execute(REQUESTED, {}, tmp_path / "fake")
    (tmp_path / "fake" / "result.txt").write_text("hell")
    execute(REQUESTED, {}, tmp_path / "fake")
    assert Spy.seen[1]["found"] == [REQUEST, f"{WORK}/started"]
    assert result(tmp_path / "fake") == ("hello", "hellohello")


def test_what_a_kill_between_the_record_and_the_tidying_leaves_is_tidied(tmp_path: Path) -> None:
    execute(REQUESTED, {}, tmp_path / "fake")
    (tmp_path / "fake" / WORK).mkdir()
    execute(REQUESTED, {}, tmp_path / "fake")
    assert len(Spy.seen) == 1
    assert not (tmp_path / "fake" / WORK).exists()


def test_another_request_does_not_take_the_folder_over(tmp_path: Path) -> None:
    execute(REQUESTED, {}, tmp_path / "fake")
    other = replace(REQUESTED, settings=FakeSettings(text="other"))
    with pytest.raises(RequestError, match="another request"):
        execute(other, {}, tmp_path / "fake")
    assert result(tmp_path / "fake") == ("hello", "hellohello")


def test_an_input_that_is_not_finished_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(RequestError, match="data holds no finished stage"):
        execute(replace(REQUESTED, inputs={"data": "data"}), {"data": tmp_path / "data"}, tmp_path / "fake")
    assert not (tmp_path / "fake").exists()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [({}, "stage fake reads data; give --input data=DIR"), ({"data", "gan"}, "stage fake reads data, not gan")],
)
def test_a_missing_or_unknown_input_is_refused_before_anything_is_written(
    inputs: set[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=message):
        execute(replace(REQUESTED, inputs={"data": "data"}), dict.fromkeys(inputs, tmp_path), tmp_path / "fake")
    assert not (tmp_path / "fake").exists()


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_only_the_first_rank_keeps_the_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    execute(REQUESTED, {}, tmp_path / "fake")
    assert Spy.seen[0]["first_rank"] is False
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"half-way", "result.txt"}
    monkeypatch.setenv(variable, "0")
    execute(REQUESTED, {}, tmp_path / "other")
    assert Spy.seen[1]["first_rank"] is True
    assert (tmp_path / "other" / DONE).exists()


def test_other_ranks_do_not_wait_for_a_first_one_that_has_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(REQUESTED, {}, tmp_path / "fake")
    monkeypatch.setenv("RANK", "1")
    execute(REQUESTED, {}, tmp_path / "fake")
    assert len(Spy.seen) == 1


def test_torchrun_s_rank_comes_before_the_local_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    execute(REQUESTED, {}, tmp_path / "fake")
    assert Spy.seen[0]["first_rank"] is False


def test_in_an_interactive_job_of_slurm_the_ranks_that_lightning_started_know_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_PROCID", "0")  # the shell's
    monkeypatch.setenv("LOCAL_RANK", "1")
    execute(REQUESTED, {}, tmp_path / "fake")
    assert Spy.seen[0]["first_rank"] is False


def test_the_commit_of_the_code_is_recorded_and_that_of_another_checkout_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "ours"
    (ours / "site-packages").mkdir(parents=True)
    for name in ("tracked.py", "site-packages/untracked.py"):
        (ours / name).write_text("")
    git("init", "-q", cwd=ours)
    git("add", "tracked.py", cwd=ours)
    git("-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "m", cwd=ours)
    commit = git("rev-parse", "HEAD", cwd=ours)
    for module, file, recorded in (
        ("clean", "tracked.py", commit),
        ("installed", "site-packages/untracked.py", None),
    ):
        monkeypatch.setattr(versions, "__file__", str(ours / file))
        execute(REQUESTED, {}, tmp_path / module)
        assert json.loads((tmp_path / module / DONE).read_text())["git_commit"] == recorded
    (ours / "tracked.py").write_text("changed")
    monkeypatch.setattr(versions, "__file__", str(ours / "tracked.py"))
    execute(REQUESTED, {}, tmp_path / "changed")
    assert json.loads((tmp_path / "changed" / DONE).read_text())["git_commit"] == commit + "+"


def git(*arguments: str, cwd: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


def test_a_stage_whose_code_changed_after_the_plan_computes_nothing(tmp_path: Path) -> None:
    planned = REQUESTED.fingerprint({})
    updated = replace(REQUESTED, type=replace(FAKE, version=2))
    with pytest.raises(RequestError, match="changed after this run was planned"):
        execute(updated, {}, tmp_path / "fake", planned)
    assert not (tmp_path / "fake").exists()
    assert Spy.seen == []
    execute(REQUESTED, {}, tmp_path / "fake", planned)
    assert result(tmp_path / "fake") == ("hello", "hellohello")
