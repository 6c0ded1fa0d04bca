import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segkit.core import run_folder
from segkit.core.errors import RequestError
from segkit.core.run_folder import DONE, REQUEST, STARTED, WORK


def finished(folder: Path, fingerprint: str = "f" * 64) -> Path:
    """A finished stage's folder with two outputs."""
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(b"abc")
    (folder / "model.json").write_bytes(b"{}")
    (folder / REQUEST).write_text(f"fingerprint: {fingerprint}\n")
    run_folder.write_done(folder, {"fingerprint": fingerprint, "outputs": run_folder.describe_outputs(folder)})
    return folder


def test_a_whole_result_is_done(tmp_path: Path) -> None:
    done = run_folder.read_done(finished(tmp_path / "stage"))
    assert done is not None
    assert {name: entry["bytes"] for name, entry in done["outputs"].items()} == {"images/a.png": 3, "model.json": 2}


def delete(folder: Path) -> None:
    (folder / "images" / "a.png").unlink()


def truncate(folder: Path) -> None:
    (folder / "images" / "a.png").write_bytes(b"ab")


def cut_done(folder: Path) -> None:
    text = (folder / DONE).read_text()
    (folder / DONE).write_text(text[: len(text) // 2])


def empty_done(folder: Path) -> None:
    (folder / DONE).write_text("[]")


def odd_done(folder: Path) -> None:
    (folder / DONE).write_text('{"fingerprint": "f", "outputs": ["model.json"]}')


def nameless_done(folder: Path) -> None:
    (folder / DONE).write_text('{"outputs": {}}')


def folder_for_file(folder: Path) -> None:
    delete(folder)
    (folder / "images" / "a.png").mkdir()


@pytest.mark.parametrize(
    "damage",
    [delete, truncate, cut_done, empty_done, odd_done, nameless_done, folder_for_file],
    ids=lambda f: f.__name__,
)
def test_a_damaged_result_is_not_done(tmp_path: Path, damage: object) -> None:
    folder = finished(tmp_path / "stage")
    damage(folder)  # type: ignore[operator]
    assert run_folder.read_done(folder) is None
    with pytest.raises(RequestError, match="no finished stage"):
        run_folder.input_fingerprint(folder)


def test_a_folder_that_is_not_there_is_not_done(tmp_path: Path) -> None:
    assert run_folder.read_done(tmp_path / "nowhere") is None


def test_the_bookkeeping_is_not_an_output(tmp_path: Path) -> None:
    folder = finished(tmp_path / "stage")
    for name in (WORK, "wandb"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("x")
    assert set(run_folder.describe_outputs(folder)) == {"images/a.png", "model.json"}


def prepare(folder: Path, fingerprint: str = "f" * 64) -> None:
    run_folder.prepare(folder, f"fingerprint: {fingerprint}\n", fingerprint)


def test_a_new_folder_begins_with_its_request(tmp_path: Path) -> None:
    prepare(tmp_path / "new" / "stage")
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {f"new/stage/{REQUEST}", f"new/stage/{WORK}/{STARTED}"}


def test_a_started_folder_is_kept_as_it_is_but_for_half_written_files(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_text("whole")
    (tmp_path / "images" / ".tmp-b-xyz.png").write_text("half")
    (tmp_path / WORK / ".tmp-last-xyz.ckpt").write_text("half")
    (tmp_path / WORK / "last.ckpt").write_text("whole")
    prepare(tmp_path)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"a.png", "last.ckpt", REQUEST, STARTED}


def test_a_kill_while_the_request_is_written_does_not_make_the_folder_a_stranger_s(tmp_path: Path) -> None:
    (tmp_path / ".tmp-request-xyz.yaml").write_text("fin")
    prepare(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {REQUEST, WORK}


def test_a_damaged_result_is_made_anew(tmp_path: Path) -> None:
    folder = finished(tmp_path / "stage")
    truncate(folder)
    prepare(folder)
    assert {path.name for path in folder.iterdir()} == {REQUEST, WORK}


def test_the_rest_of_a_work_folder_whose_removal_was_cut_short_is_not_built_on(tmp_path: Path) -> None:
    folder = finished(tmp_path / "stage")
    (folder / WORK).mkdir()
    (folder / WORK / "last.ckpt").write_text("of who knows when")
    truncate(folder)
    prepare(folder)
    assert not (folder / WORK / "last.ckpt").exists()


def test_work_is_removed_beginning_with_what_says_that_it_can_be_built_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    (tmp_path / WORK / "last.ckpt").write_text("")
    monkeypatch.setattr(run_folder.shutil, "rmtree", lambda *_, **__: None)  # killed before
    run_folder.remove_work(tmp_path)
    assert not (tmp_path / WORK / STARTED).exists()
    assert (tmp_path / WORK / "last.ckpt").exists()


def test_a_folder_with_strangers_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    for name in ("thesis.tex", ".profile"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(RequestError, match=r"\.profile"):
        prepare(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex", ".profile"}


@pytest.mark.parametrize("ended", [True, False], ids=["finished", "started"])
def test_the_folder_of_another_request_is_refused_and_left_alone(tmp_path: Path, ended: bool) -> None:
    if ended:
        finished(tmp_path / "stage", "a" * 64)
    else:
        prepare(tmp_path / "stage", "a" * 64)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(RequestError, match="another request"):
        prepare(tmp_path / "stage", "b" * 64)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


HOLD = """
import sys, time
from pathlib import Path
from segkit.core.run_folder import lock_stage
with lock_stage(Path(sys.argv[1]), lambda text: print(text, flush=True)):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
print("released", flush=True)
"""


def hold(folder: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_second_of_two_processes_says_who_holds_the_folder_and_waits(tmp_path: Path) -> None:
    with hold(tmp_path / "stage", 60) as first:
        assert line_of(first) == "held"
        with hold(tmp_path / "stage", 0) as second:
            waiting = line_of(second)
            assert waiting.startswith(f"waiting for process {first.pid} on {os.uname().nodename} (since ")
            assert waiting.endswith(f"which is writing {tmp_path / 'stage'}")
            time.sleep(0.2)
            assert second.poll() is None
            first.send_signal(signal.SIGKILL)  # the lock goes with the process, however that ends
            assert line_of(second) == "held"
            assert line_of(second) == "released"
        assert second.returncode == 0


def test_who_held_a_folder_is_forgotten_when_it_is_released(tmp_path: Path) -> None:
    with run_folder.lock_stage(tmp_path / "stage", print):
        note = json.loads((tmp_path / run_folder.LOCKS / "stage.json").read_text())
        assert note["pid"] == os.getpid()
    assert not (tmp_path / run_folder.LOCKS / "stage.json").exists()


def test_two_stages_do_not_wait_for_each_other(tmp_path: Path) -> None:
    spoken: list[str] = []
    with run_folder.lock_stage(tmp_path / "one", spoken.append), run_folder.lock_stage(tmp_path / "two", spoken.append):
        assert spoken == []
