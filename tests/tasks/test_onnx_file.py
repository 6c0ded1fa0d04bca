"""A network as an ONNX file: the same probabilities as torch's, at any size, through the same inference."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import segkit
from segkit.core import images
from segkit.core.classes import Classes
from segkit.core.errors import RequestError, WeightsError
from segkit.core.files import read_json, sha256_file
from segkit.data.phantom import draw
from segkit.data.settings import GeometrySettings, PreprocessingSettings
from segkit.models.settings import SAUNetSettings, UNetSettings
from segkit.tasks.export import export_onnx, exported_card
from segkit.tasks.network import build_network
from segkit.tasks.weights import read_card, save_ensemble, save_network
from tests.pipelines.tiny import segkit_here

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

SETTINGS = SAUNetSettings(widths=(4, 6, 8), image_channels=1)
GREEN = PreprocessingSettings(channels="green", normalization="dataset")


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """With statistics and a normalisation as after a training: none is the one that changes nothing."""
    torch.manual_seed(0)
    network = build_network(SETTINGS, GREEN)
    for name, values in network.state_dict().items():
        if name.endswith(("running_mean", ".mean")):
            values.uniform_(-0.1, 0.1)
        elif name.endswith(("running_var", "deviation")):
            values.uniform_(0.2, 1)
    return network.eval()


@pytest.fixture(scope="module")
def folder(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    state = network.state_dict()
    save_network(folder, state, SETTINGS, GeometrySettings(), 0.43, "val-best-dice", preprocessing=GREEN)
    return folder


@pytest.fixture(scope="module")
def file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    assert segkit_here("export", "--weights", str(folder), "--onnx", "--out", str(path)) == 0
    return path


@pytest.mark.parametrize(("count", "height", "width"), [(1, 8, 64), (3, 36, 20)])
def test_onnxruntime_gives_the_probabilities_of_torch(
    file: Path, network: torch.nn.Module, count: int, height: int, width: int
) -> None:
    image = torch.rand(count, 1, height, width)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    [probs] = session.run(["probs"], {"image": image.numpy()})
    with torch.no_grad():
        expected = 1 / (1 + torch.exp(-network(image)))
    np.testing.assert_allclose(probs, expected.numpy(), atol=1e-6)
    assert probs.std() > 0.001


def test_the_metadata_hold_the_card_and_what_other_programs_need(file: Path, folder: Path) -> None:
    assert read_card(file).model_dump(mode="json") == exported_card(folder)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["classes"] == "vessel"
    assert float(metadata["threshold"]) == 0.43
    assert int(metadata["stride"]) == 4
    assert '"green"' in metadata["preprocessing"]


@pytest.mark.parametrize("options", [{}, {"tta": "d4"}, {"tile": 64, "scale": 1.5}])
def test_the_file_predicts_what_the_folder_does(file: Path, folder: Path, options: dict[str, object]) -> None:
    image = draw(0, 90, 71).image
    ours, theirs = (segkit.load(model).predict(image, **options) for model in (folder, file))
    np.testing.assert_allclose(theirs.probs, ours.probs, atol=1.01 / 65535)  # a level of the 16 bits
    assert theirs.threshold == ours.threshold
    np.testing.assert_array_equal(theirs.region, ours.region)


def test_the_command_line_takes_the_file(file: Path, tmp_path: Path) -> None:
    images.write_image(tmp_path / "photo.png", draw(0, 90, 71).image)
    arguments = ("--weights", str(file), "--out", str(tmp_path / "out"), str(tmp_path / "photo.png"))
    assert segkit_here("predict", *arguments) == 0
    probs = segkit.load(file).predict(tmp_path / "photo.png").probs
    np.testing.assert_array_equal(images.read_probs(tmp_path / "out" / "probs" / "photo.png"), probs)
    assert list(read_json(tmp_path / "out" / "predictions.json")["files"]) == ["model.onnx"]


def test_the_card_names_the_file_and_its_sha256(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("models", str(file)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("model.onnx: " in line and f"sha256 {sha256_file(file)}" in line for line in lines)


def test_several_classes_and_patches_are_exported_too(tmp_path: Path) -> None:
    settings = UNetSettings(widths=(2, 4))
    patches = PreprocessingSettings(patch_size=16, normalization="zca")
    classes = Classes(kind="multiclass", names=("background", "vessel", "disc"))
    state = build_network(settings, patches, 3).state_dict()
    save_network(tmp_path / "model", state, settings, GeometrySettings(), classes=classes, preprocessing=patches)
    export_onnx(tmp_path / "model", tmp_path / "model.onnx", exported_card(tmp_path / "model"))
    image = draw(0, 50, 48).image
    ours, theirs = (segkit.load(tmp_path / name).predict(image).probs for name in ("model", "model.onnx"))
    np.testing.assert_allclose(theirs, ours, atol=2 / 65535)
    assert ours.shape == (3, 50, 48)


def test_what_cannot_be_exported_or_read_is_refused(folder: Path, file: Path, tmp_path: Path) -> None:
    save_ensemble(tmp_path / "both", {"a": folder, "b": folder}, "mean", [1, 1], 0.5, "fixed-0.5", None)
    with pytest.raises(RequestError):
        export_onnx(tmp_path / "both", tmp_path / "both.onnx", {})
    assert segkit_here("export", "--weights", str(folder), "--onnx", "--out", str(tmp_path / "model.pt")) == 2
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsError):
        segkit.load(cut)
    with pytest.raises(WeightsError):
        segkit.load(tmp_path / "none.onnx")


def test_a_missing_package_is_named(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RequestError, match="pip install"):
        segkit.load(file)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(RequestError, match="pip install"):
        export_onnx(folder, tmp_path / "model.onnx", exported_card(folder))
