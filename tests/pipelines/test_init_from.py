"""The training of a network from the weights of a file."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segkit.core.errors import RequestError
from segkit.models import build_model
from segkit.models.settings import DeepLabV3Settings
from tests.pipelines.tiny import plan, run_here, segkit_here, write_config

MODEL = {"name": "deeplabv3", "width": 2}


def weights_file(path: Path, num_channels: int = 21, seed: int = 0, width: int = 2) -> Path:
    """A file such as torchvision's, of a narrow network."""
    torch.manual_seed(seed)
    torch.save(build_model(DeepLabV3Settings(width=width), num_channels).state_dict(), path)
    return path


def fingerprint(tmp_path: Path, path: Path | None) -> str:
    changes = {"teacher.model": MODEL, "teacher.init_from": None if path is None else str(path)}
    stages = plan(write_config(tmp_path / "config.yaml", changes), tmp_path / "runs", upto="teacher")
    return stages[-1].fingerprint


def test_the_content_of_the_file_identifies_the_result_and_its_place_does_not(tmp_path: Path) -> None:
    first = weights_file(tmp_path / "a.pth")
    known = fingerprint(tmp_path, first)
    assert known != fingerprint(tmp_path, None)
    moved = first.rename(tmp_path / "b.pth")
    assert fingerprint(tmp_path, moved) == known
    weights_file(moved, seed=1)
    assert fingerprint(tmp_path, moved) != known


def test_a_missing_file_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        fingerprint(tmp_path, tmp_path / "none.pth")
    assert str(tmp_path / "none.pth") in str(caught.value)


def test_a_file_that_does_not_fit_ends_the_command_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"teacher.model": MODEL, "teacher.init_from": str(weights_file(tmp_path / "wide.pth", width=4))}
    config = write_config(tmp_path / "config.yaml", changes)
    command = ("pipeline", "run", "synthetic-aug", "-c", str(config), "--runs", str(tmp_path / "runs"))
    assert segkit_here(*command, "--upto", "teacher", "--dry-run") == 2
    assert "backbone.conv1.weight" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_training_starts_from_the_file_and_records_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = weights_file(tmp_path / "coco.pth")
    phase = {"data": "real", "epochs": 1, "batch_size": 4, "optimizer": {"learning_rate": 1e-9}}
    changes = {"teacher.model": MODEL, "teacher.init_from": str(path), "teacher.phases": [phase]}
    run_here(write_config(tmp_path / "config.yaml", changes), tmp_path / "runs", upto="teacher")
    [card] = (tmp_path / "runs").glob("teacher-*/model.json")
    given, trained = torch.load(path, weights_only=True), load_file(card.parent / "model.safetensors")
    torch.testing.assert_close(trained["backbone.layer4.0.conv1.weight"], given["backbone.layer4.0.conv1.weight"])
    assert trained["classifier.4.weight"].shape[0] == 1
    recorded = json.loads(card.read_text())["details"]["init_from"]
    assert recorded["file"] == "coco.pth"
    assert len(recorded["sha256"]) == 64
    out = capsys.readouterr().out
    assert "newly initialised: classifier.4, aux_classifier.4" in out
