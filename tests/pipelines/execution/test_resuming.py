"""What a killed training left is gone on from only by code that can."""

import functools
import json
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.training.task import StyleGAN2Task
from segkit.core.run_folder import WORK
from segkit.core.versions import TASK_FORMAT_KEY
from segkit.tasks import callbacks, resuming
from segkit.tasks.segmentation import SegmentationTask
from tests.pipelines.tiny import run_here, segkit_here, write_config


class Killed(BaseException):
    """Stands for a kill."""


def then_killed(work: Callable[..., None]) -> Callable[..., None]:
    def both(*args: Any) -> None:
        work(*args)
        raise Killed

    return both


KILLED = {
    "gan": ("pipelines.stages.gan.fit", then_killed(resuming.fit)),
    "teacher": ("pipelines.stages.train._save_with_threshold", then_killed(lambda *_: None)),
}
"""Where each training is killed: when all of it is in its work folder."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The runs folder of a pipeline that was killed just before the end of a stage; tests copy it."""
    root = tmp_path_factory.mktemp("killed")
    config = write_config(root / "tiny.yaml")

    @functools.cache
    def run(stage: str) -> Path:
        with pytest.MonkeyPatch.context() as during:
            during.setattr(*KILLED[stage])
            with pytest.raises(Killed):
                run_here(config, root / stage, upto=stage)
        return root / stage

    return run


@pytest.fixture
def begun(killed: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A file in the work folder of a stage that was killed just before its end."""

    def copy(stage: str, file: str) -> Path:
        runs = shutil.copytree(killed(stage), tmp_path / "runs")
        return next(runs.glob(f"{stage}-*")) / WORK / file

    return copy


@pytest.fixture
def again(config: Path, tmp_path: Path, stages_here: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the same command says on standard error; its exit code is the one expected."""

    def run(stage: str, code: int) -> str:
        capsys.readouterr()
        args = ["pipeline", "run", "synthetic-aug", "-c", str(config), "--runs", str(tmp_path / "runs")]
        assert segkit_here(*args, "--upto", stage) == code
        return capsys.readouterr().err

    return run


def change(path: Path, how: Callable[[dict[str, Any]], None]) -> None:
    kept = torch.load(path, weights_only=True)
    how(kept)
    torch.save(kept, path)


def without_first(kept: dict[str, Any]) -> None:
    tensors = kept.get("state_dict", kept)
    del tensors[next(iter(tensors))]


def with_one_more(kept: dict[str, Any]) -> None:
    kept.get("state_dict", kept)["old.filter"] = torch.zeros(4)


def of_another_shape(kept: dict[str, Any]) -> None:
    tensors = kept.get("state_dict", kept)
    tensors[next(iter(tensors))] = torch.zeros(1, 2, 3)


def in_another_order(kept: dict[str, Any]) -> None:
    kept["state_dict"] = OrderedDict(reversed(kept["state_dict"].items()))


def of_correlating_layers(kept: dict[str, Any]) -> None:
    del kept[TASK_FORMAT_KEY]


def of_a_later_format(kept: dict[str, Any]) -> None:
    kept[callbacks.FORMAT_KEY] = callbacks.CHECKPOINT_FORMAT + 1


@pytest.mark.parametrize(
    ("stage", "file", "how", "words"),
    [
        ("gan", "last.ckpt", without_first, "(pl_mean is not in it)"),
        ("gan", "last.ckpt", with_one_more, "(old.filter is unknown here)"),
        ("gan", "last.ckpt", in_another_order, "(its tensors are in another order)"),
        ("gan", "last.ckpt", of_a_later_format, "(its format is 2, here it is 1)"),
        ("gan", "last.ckpt", of_correlating_layers, "(its format is 1, here it is 3)"),
        ("teacher", "phase-0.pt", without_first, " is not in it)"),
        ("teacher", "phase-0.pt", of_another_shape, " is (1, 2, 3), here it is ("),
    ],
)
def test_what_another_version_left_is_refused_with_the_way_out(
    stage: str,
    file: str,
    how: Callable[[dict[str, Any]], None],
    words: str,
    begun: Callable[..., Path],
    again: Callable[..., str],
) -> None:
    path = begun(stage, file)
    change(path, how)
    lines = again(stage, 1).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"error: {path} was written by another version")
    assert words in lines[0]
    assert "remove this file" in lines[0]


@pytest.mark.parametrize(("stage", "file"), [("gan", "last.ckpt"), ("teacher", "phase-0.pt")])
def test_without_the_refused_file_the_same_command_goes_on(
    stage: str, file: str, begun: Callable[..., Path], again: Callable[..., str]
) -> None:
    path = begun(stage, file)
    change(path, without_first)
    again(stage, 1)
    path.unlink()
    assert again(stage, 0) == ""


def test_a_segmenter_s_checkpoint_of_another_version_is_refused_too(
    begun: Callable[..., Path], again: Callable[..., str]
) -> None:
    finished = begun("teacher", "phase-0.pt")
    finished.unlink()
    path = finished.parent / "phase-0" / "last.ckpt"
    change(path, with_one_more)
    error = again("teacher", 1)
    assert error.startswith(f"error: {path} was written by another version")
    assert "old.filter is unknown" in error


@pytest.mark.parametrize(("stage", "file"), [("gan", "last.ckpt"), ("teacher", "phase-0.pt")])
@pytest.mark.parametrize("left", [0, 1000])
def test_a_damaged_checkpoint_is_refused_with_the_way_out(
    stage: str, file: str, left: int, begun: Callable[..., Path], again: Callable[..., str]
) -> None:
    path = begun(stage, file)
    path.write_bytes(path.read_bytes()[:left])
    error = again(stage, 1)
    assert error.startswith(f"error: {path} is damaged (")
    assert "remove this file" in error
    assert "fault of segkit" not in error


def no_step_is_left(task: object, batch: object, batch_idx: int) -> None:
    pytest.fail("a training that was at its end has trained on")


@pytest.mark.parametrize("left", ["gan: last.ckpt", "teacher: phase-0.pt", "teacher: phase-0/last.ckpt"])
def test_what_this_version_left_is_gone_on_from(
    left: str,
    begun: Callable[..., Path],
    again: Callable[..., str],
    finished_runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, file = left.split(": ")
    path = begun(stage, file)
    assert path.exists()
    if file == "phase-0/last.ckpt":
        (path.parents[1] / "phase-0.pt").unlink()
    for trained in (StyleGAN2Task, SegmentationTask):
        monkeypatch.setattr(trained, "training_step", no_step_is_left)
    assert again(stage, 0) == ""
    runs = (finished_runs, tmp_path / "runs")
    ended = [json.loads(next(root.glob(f"{stage}-*/done.json")).read_text()) for root in runs]
    assert ended[0]["outputs"] == ended[1]["outputs"]


def test_a_checkpoint_from_before_formats_were_told_has_the_first_one(
    begun: Callable[..., Path], again: Callable[..., str]
) -> None:
    change(begun("gan", "last.ckpt"), lambda kept: kept.pop(callbacks.FORMAT_KEY))
    assert again("gan", 0 if callbacks.CHECKPOINT_FORMAT == 1 else 1) == ""


def test_the_weights_of_a_finished_phase_come_back_as_they_were(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 2)
    torch.save(network.state_dict(), tmp_path / "phase-0.pt")
    read = resuming.read_weights(tmp_path / "phase-0.pt", network)
    assert all(torch.equal(read[name], value) for name, value in network.state_dict().items())
