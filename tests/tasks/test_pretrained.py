import os
import pickle
from io import StringIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from segkit.core.errors import WeightsError
from segkit.data.settings import GeometrySettings
from segkit.models import build_model
from segkit.models.settings import DeepLabV3Settings, IterNetSettings, LittleWNetSettings, UNetSettings
from segkit.tasks import pretrained
from segkit.tasks.pretrained import class_tensors, first_weights, read_tensors
from segkit.tasks.settings import StartRequest, TrainSettings
from segkit.tasks.weights import save_network
from segkit.weights import shipped_models

SHIPPED = shipped_models()["vessels-fast"]
SMALL = DeepLabV3Settings(width=2)
HEADS = {f"{head}.4.{kind}" for head in ("classifier", "aux_classifier") for kind in ("weight", "bias")}


def states(settings=SMALL, num_channels=21):
    return build_model(settings, num_channels).state_dict()


def start(path: Path, settings=SMALL, num_channels=3):
    own = states(settings, num_channels)
    return own, first_weights(settings, own, path)


def saved(content, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_all_but_the_heads_for_other_classes_come_from_the_file(tmp_path):
    given = states()
    own, result = start(saved(given, tmp_path / "coco.pth"))
    assert set(result.new) == HEADS
    for name, value in result.weights.items():
        assert torch.equal(value, own[name] if name in HEADS else given[name])
    assert result.unused == []
    text = str(result)
    assert f"{len(own) - 4} of {len(own)}" in text
    assert "classifier.4" in text
    assert "aux_classifier.4" in text


def test_heads_for_as_many_classes_come_from_the_file_too(tmp_path):
    given = states(num_channels=3)
    _, result = start(saved(given, tmp_path / "own.pth"))
    assert result.new == []
    assert all(torch.equal(value, given[name]) for name, value in result.weights.items())


def test_a_resnet_for_imagenet_gives_the_backbone(tmp_path):
    given = {
        name.removeprefix("backbone."): value
        for name, value in states().items()
        if name.startswith("backbone.") and not name.endswith("num_batches_tracked")  # as in torchvision's older files
    }
    given |= {"fc.weight": torch.rand(1000, 64), "fc.bias": torch.rand(1000)}
    # the format of these older files
    torch.save(given, tmp_path / "resnet.pth", _use_new_zipfile_serialization=False)
    own, result = start(tmp_path / "resnet.pth")
    assert result.unused == ["backbone.fc.weight", "backbone.fc.bias"]
    assert set(result.new) == {name for name in own if not name.startswith("backbone.")}
    weights = [name for name in own if name.startswith("backbone.") and not name.endswith("num_batches_tracked")]
    assert len(weights) == len(given) - 2
    assert all(torch.equal(result.weights[name], given[name.removeprefix("backbone.")]) for name in weights)
    assert "newly initialised: classifier, aux_classifier; not used: backbone.fc" in str(result)


def test_a_file_of_another_network_in_a_model_s_folder_is_refused_with_the_folder():
    with pytest.raises(WeightsError, match=f"does not fit little-wnet.*; {SHIPPED} is a model's folder"):
        start(SHIPPED / "model.safetensors", LittleWNetSettings(), 1)


def test_an_auxiliary_head_that_the_network_lacks_is_not_used(tmp_path):
    path = saved(states(), tmp_path / "coco.pth")
    _, result = start(path, DeepLabV3Settings(width=2, auxiliary_head=False))
    assert {name.partition(".")[0] for name in result.unused} == {"aux_classifier"}


@pytest.mark.parametrize(
    ("given", "network", "named"),
    [
        (DeepLabV3Settings(width=2, backbone="resnet101"), SMALL, "backbone.layer3.6.conv1.weight"),
        (SMALL, DeepLabV3Settings(width=2, backbone="resnet101"), "backbone.layer3.6.conv1.weight"),
        (SMALL, DeepLabV3Settings(width=2, image_channels=1), "backbone.conv1.weight"),
        (SMALL, UNetSettings(widths=(2, 3)), "backbone.conv1.weight"),
        (DeepLabV3Settings(width=2, auxiliary_head=False), SMALL, "aux_classifier.0.weight"),
    ],
)
def test_weights_of_another_network_are_refused_with_the_first_tensor_that_differs(tmp_path, given, network, named):
    path = saved(states(given), tmp_path / "weights.pth")
    with pytest.raises(WeightsError) as caught:
        start(path, network)
    assert named in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("key", ["model_state_dict", "state_dict", "model"])
def test_of_a_checkpoint_the_model_is_read(tmp_path, key):
    given = states()
    path = saved({"epoch": 3, key: given}, tmp_path / "best.pth")
    assert list(read_tensors(path)) == list(given)


class Code:
    def __reduce__(self):
        return os.mkdir, ("/should-never-exist",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"a": Code()}),
        b"",
        b"<!doctype html>",
        pickle.dumps(3),
    ],
    ids=["code", "empty", "page", "number"],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_files_without_weights_are_refused_and_no_code_is_run(tmp_path, content, suffix):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
    assert not Path("/should-never-exist").exists()


def test_a_code_object_among_tensors_is_not_loaded(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1), "b": Code()}, path)
    with pytest.raises(WeightsError):
        read_tensors(path)
    assert not Path("/should-never-exist").exists()


def test_lists_of_numbers_are_no_weights(tmp_path):
    with pytest.raises(WeightsError):
        read_tensors(saved({"a": [1, 2]}, tmp_path / "weights.pth"))


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(WeightsError):
        read_tensors(tmp_path / "weights.pth")


@pytest.mark.parametrize("folder", [True, False])
def test_the_weights_of_a_trained_model_start_another(tmp_path, folder):
    settings = UNetSettings(widths=(2, 3))
    given = states(settings, 1)
    save_network(tmp_path / "trained", given, settings, GeometrySettings())
    place = tmp_path / "trained" if folder else tmp_path / "trained" / "model.safetensors"
    path = TrainSettings(model=settings, init_from=place).init_path
    assert path is not None
    _, result = start(path, settings, num_channels=4)
    assert result.new == ["head.weight", "head.bias"]
    assert torch.equal(result.weights["encoder.0.0.0.weight"], given["encoder.0.0.0.weight"])


def test_class_tensors_are_those_that_the_number_of_classes_reshapes():
    assert class_tensors(SMALL) == HEADS
    stages = LittleWNetSettings(widths=(2, 3))
    # the second stage sees the first one's logits
    assert class_tensors(stages) == {
        "stages.0.head.weight",
        "stages.0.head.bias",
        "stages.1.head.weight",
        "stages.1.head.bias",
        "stages.1.encoder.0.body.0.weight",
        "stages.1.encoder.0.shortcut.0.weight",
    }
    iternet = class_tensors(IterNetSettings(widths=(2, 3), num_passes=1))
    assert iternet == {f"heads.{number}.{kind}" for number in (0, 1) for kind in ("weight", "bias")}


@pytest.mark.parametrize("width", [2, 4])
def test_the_runner_can_check_that_weights_fit(tmp_path, monkeypatch, capsys, width):
    save_file(states(), tmp_path / "weights.safetensors")
    path = tmp_path / "weights.safetensors"
    request = StartRequest(model=DeepLabV3Settings(width=width), init_path=path, modules=("backbone.layer1",))
    monkeypatch.setattr("sys.stdin", StringIO(request.model_dump_json()))
    if width == 2:
        pretrained.main()
        return
    with pytest.raises(SystemExit) as caught:
        pretrained.main()
    assert caught.value.code == WeightsError.exit_code
    assert "backbone.conv1.weight is (2, 3, 7, 7) there, (4, 3, 7, 7) in the network" in capsys.readouterr().err
