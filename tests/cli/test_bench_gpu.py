"""`segkit bench gpu`: small commands in place of the long ones, and once every step with tiny sizes."""

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from pipelines.gpu_bench import run, steps
from pipelines.gpu_bench.steps import Request, SkippedError, Step
from segkit.core.errors import RequestError, SegkitError
from tests.pipelines.tiny import segkit_here

REPOSITORY = Path(__file__).parents[2]
FACTS = {
    "gpu": "NVIDIA H100 80GB HBM3",
    "driver": "580.1",
    "torch": "2.11.0",
    "cuda": "13.0",
    "cudnn": 91000,
    "python": "3.12.3",
    "segkit": "0.1.0",
    "commit": "0123abc",
}


def step(name="small", code="print('hello')", limit_s=60.0, figures=lambda request: {"n": 1}, **more):
    """A step that runs a line of Python: `python -m timeit -n1 -r1 CODE`."""
    return Step(name, limit_s, lambda request: ["timeit", "-n1", "-r1", code], figures, **more)


def skipped(request):
    raise SkippedError("nothing to do")


@pytest.fixture
def request_here(tmp_path):
    return Request(tmp_path / "out")


def read(request):
    return json.loads((request.out / "gpu.json").read_text())


def test_a_failed_step_is_recorded_and_the_others_run(request_here):
    chosen = [
        step("bad", "import os; print('why', flush=True); os._exit(3)"),
        step("good"),
        Step("none", 9, skipped, dict),
    ]
    assert not run.run(chosen, request_here, FACTS)
    book = read(request_here)["steps"]
    assert {name: record["state"] for name, record in book.items()} == {
        "bad": "failed",
        "good": "done",
        "none": "skipped",
    }
    assert book["bad"]["exit_code"] == 3
    assert "why" in book["bad"]["log"]
    assert book["good"]["figures"] == {"n": 1}
    assert book["good"]["machine"] == FACTS
    assert book["none"]["reason"] == "nothing to do"
    assert "hello" in (request_here.out / "logs" / "good.log").read_text()


def test_figures_that_a_command_did_not_write_fail_the_step(request_here):
    def missing(request):
        return steps.read_json(request.out / "none.json")

    record = run.run_step(step(figures=missing), request_here)
    assert record["state"] == "failed"
    assert record["exit_code"] == 0


@pytest.mark.parametrize(("ends_at_limit", "state"), [(False, "failed"), (True, "done")])
def test_a_step_is_stopped_at_its_limit_with_all_that_it_started(request_here, tmp_path, ends_at_limit, state):
    pid = tmp_path / "pid"
    child = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    start = time.monotonic()
    record = run.run_step(step(code=code, limit_s=1.5, ends_at_limit=ends_at_limit), request_here)
    assert time.monotonic() - start < 20
    assert (record["state"], record["exit_code"]) == (state, None)
    status = Path(f"/proc/{pid.read_text()}/stat")
    deadline = time.monotonic() + 5
    while status.exists() and status.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_calls_add_to_one_file_and_a_skip_keeps_an_earlier_measurement(request_here):
    assert run.run([step("a"), step("b")], request_here, FACTS)
    again = [step("b", figures=lambda request: {"n": 2}), Step("a", 9, skipped, dict), Step("c", 9, skipped, dict)]
    assert run.run(again, request_here, FACTS)
    book = read(request_here)["steps"]
    assert [book[name].get("figures") for name in "abc"] == [{"n": 1}, {"n": 2}, None]


def test_a_rehearsal_and_a_measurement_do_not_share_a_file(request_here):
    run.run([step()], request_here, FACTS)
    with pytest.raises(RequestError, match="not of a rehearsal"):
        run.run([step()], Request(request_here.out, rehearsal=True), FACTS)


def test_only_and_skip_choose_steps_and_refuse_unknown_ones(request_here):
    available = steps.steps(request_here)
    assert [s.name for s in run.choose(available, ("gan", "tests"), ())] == ["tests", "gan"]
    assert len(run.choose(available, (), ("demo",))) == len(available) - 1
    with pytest.raises(RequestError, match="no step 'gna'"):
        run.choose(available, (), ("gna",))


def test_without_a_device_the_command_ends_with_2_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "machine", lambda: FACTS | {"gpu": None})
    assert segkit_here("bench", "gpu", "--out", str(tmp_path / "out")) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_failed_step_makes_the_exit_code_1(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "machine", lambda: FACTS)
    monkeypatch.setattr(steps, "steps", lambda request: [step(code="1/0")])
    assert segkit_here("bench", "gpu", "--out", str(tmp_path)) == 1


def test_what_is_missing_skips_a_step_with_its_reason(request_here, monkeypatch):
    by_name = {s.name: s for s in steps.steps(request_here)}
    for name in ("drive-teacher", "drive-gan", "drive-fidelity"):
        with pytest.raises(SkippedError):
            by_name[name].arguments(request_here)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SkippedError, match="pytest is not installed"):
        by_name["tests"].arguments(request_here)


def test_only_files_with_tests_for_a_gpu_are_collected(request_here):
    files = [word for word in steps._tests(request_here) if word.endswith(".py")]
    assert "tests/gan/networks/test_precision.py" in files
    assert "tests/cli/test_main.py" not in files
    assert all((REPOSITORY / name).is_file() for name in files)


def test_seconds_per_kimg_are_those_between_snapshots_in_the_median(request_here):
    """An interruption of a thousand seconds lies between the last two."""
    gan = request_here.work / "drive" / "gan-0123456789ab"
    (gan / "grids").mkdir(parents=True)
    (gan / "curves.csv").write_text("step,gan/kimg,gan/loss_g,gan/r1\n1,5,0.5,\n2,10,0.4,0.1\n")
    for name in ("reals", "kimg000000.000"):
        Image.new("RGB", (4, 4)).save(gan / "grids" / f"{name}.png")
    with pytest.raises(SegkitError, match="no snapshot"):
        steps._drive_gan_figures(request_here)
    for kimg, seconds in ((0, 100), (10, 140), (20, 170), (30, 1200), (40, 1240)):
        path = gan / "grids" / f"kimg{kimg:010.3f}.png"
        Image.new("RGB", (4, 4), (kimg, 0, 0)).save(path)
        os.utime(path, (seconds, seconds))
    figures = steps._drive_gan_figures(request_here)
    assert (figures["kimg"], figures["s_per_kimg"], figures["snapshots"]) == (40, 4, 5)
    assert figures["curves"][0] == {"step": 1, "gan/kimg": 5, "gan/loss_g": 0.5}
    assert Image.open(request_here.out / "drive-gan.png").getpixel((0, 0)) == (40, 0, 0)


def test_every_command_is_one_that_segkit_understands(request_here, tmp_path):
    from tests.configs.commands import parse

    request = Request(request_here.out, drive=tmp_path)
    for s in steps.steps(request):
        if s.name not in ("tests", "drive-fidelity"):
            program, *words = s.arguments(request)
            assert program == "segkit"
            parse(run.shlex.join([program, *words]))
    gan = next(s for s in steps.steps(request) if s.name == "drive-gan")
    assert gan.limit_s == 8 * 60
    assert str(tmp_path) not in run.shown_command(gan.arguments(request), request)


def test_a_machine_is_described_without_a_device():
    facts = run.machine()
    assert facts.keys() == FACTS.keys()
    assert facts["python"] == sys.version.split()[0]


@pytest.mark.slow
@pytest.mark.usefixtures("stages_here")
def test_a_rehearsal_runs_the_cheap_steps_from_any_folder(tmp_path, monkeypatch):
    """Only the last of them as the process that it is."""
    request = Request(tmp_path / "out", rehearsal=True)
    request.work.mkdir(parents=True)
    by_name = {s.name: s for s in steps.steps(request)}
    figures = {}
    for name in ("bench-512", "drive-teacher", "drive-gan"):
        program, *words = by_name[name].arguments(request)
        assert program == "segkit"
        assert segkit_here(*words) == 0
        figures[name] = by_name[name].figures(request)
    monkeypatch.chdir(tmp_path)
    assert segkit_here("bench", "gpu", "--rehearse", "--out", "out", "--only", "drive-fidelity") == 0
    book = read(request)
    assert book["rehearsal"]
    figures["drive-fidelity"] = book["steps"]["drive-fidelity"]["figures"]
    assert all(row["images_per_second"] > 0 for row in figures["bench-512"]["rows"])
    assert figures["drive-gan"]["kimg"] == 0.08
    assert figures["drive-gan"]["s_per_kimg"] > 0
    assert {"gan/loss_g", "gan/loss_d", "gan/ada_p"} <= figures["drive-gan"]["curves"][-1].keys()
    assert figures["drive-fidelity"]["sets"]["drawn"]["numbers"]["kid"]["value"] is not None
    pictures = {"drive-gan.png", "drive-reals.png", "drive-curves.png", "drive-nearest.png"}
    assert pictures == {path.name for path in (tmp_path / "out").glob("*.png")}
