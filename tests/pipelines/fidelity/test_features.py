"""Features of an image; photographs and generated images are treated alike."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gan.drawing.sampling import generate
from gan.fidelity.copies import CopySearch
from gan.networks.generator import Generator
from gan.settings import GanSettings
from gan.training.data import load_images, undo_fit
from pipelines.fidelity.assess import generated_set
from pipelines.fidelity.features import (
    FeatureTask,
    ImageFeatures,
    ImageSet,
    ScriptFeatures,
    TeacherFeatures,
    extract,
    load_extractor,
    read_square,
    set_of_files,
)
from segkit.core import images
from segkit.core.classes import Classes
from segkit.core.errors import RequestError, WeightsError
from segkit.data import phantom
from segkit.data.fov import estimate_fov
from segkit.data.settings import GeometrySettings
from segkit.metrics.vessel_statistics import vessel_statistics
from segkit.models import build_model
from segkit.models.settings import SAUNetSettings
from segkit.tasks.prediction import NetworkPredictor
from segkit.tasks.settings import InferenceSettings, RuntimeSettings
from segkit.tasks.weights import save_ensemble, save_network

HEIGHT, WIDTH = 52, 48
GAN = GanSettings(resolution=32, batch_size=4, channel_base=128, channel_max=8, num_mapping_layers=1, z_dim=8, w_dim=8)
SMALL = SAUNetSettings(widths=(4, 8), drop_prob=0.0)
ON_CPU = RuntimeSettings(accelerator="cpu", tracker="none")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "teacher-0123456789ab"
    save_network(folder, build_model(SMALL).state_dict(), SMALL, GeometrySettings(), 0.5, trained_by="teacher")
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(6):
        images.write_image(folder / f"{number}.png", phantom.draw(number, HEIGHT, WIDTH).image)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(1)
    return Generator(GAN).requires_grad_(False)


def task_of(teacher: Path, photographs: list[Path], generator: Generator | None = None) -> FeatureTask:
    copies = CopySearch(np.stack([read_square(path, GAN) for path in photographs]))
    return FeatureTask(TeacherFeatures(teacher, HEIGHT, WIDTH, GAN), copies, GAN, generator)


def extracted(task: FeatureTask, paths: list[Path]) -> list[ImageFeatures]:
    return extract(task, set_of_files("test", "test", paths), ON_CPU, Path(), "test")


def test_a_teacher_s_features_are_means_and_deviations_of_its_encoder_s_channels(
    teacher: Path, photographs: list[Path]
) -> None:
    extractor = TeacherFeatures(teacher, HEIGHT, WIDTH, GAN)
    assert isinstance(extractor.predictor, NetworkPredictor)
    square = read_square(photographs[0], GAN)
    features, _ = extractor(square)
    back = undo_fit(square, HEIGHT, WIDTH, GAN.fit).copy()
    padded = np.pad(back, [(0, -HEIGHT % SMALL.stride), (0, -WIDTH % SMALL.stride), (0, 0)])
    fresh = build_model(SMALL).eval()
    fresh.load_state_dict(load_file(teacher / "model.safetensors"))
    with torch.inference_mode():
        levels = fresh.features(torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255)  # type: ignore[operator]
    expected = [value for level in levels for value in (level.mean((0, 2, 3)), level.std((0, 2, 3), correction=0))]
    np.testing.assert_allclose(features, torch.cat(expected), rtol=1e-4, atol=1e-5)
    assert extractor.level_sizes == [2 * len(level[0]) for level in levels]


def test_a_teacher_s_vessels_are_its_map_of_the_image_at_the_photographs_size(
    teacher: Path, photographs: list[Path]
) -> None:
    extractor = TeacherFeatures(teacher, HEIGHT, WIDTH, GAN)
    square = read_square(photographs[1], GAN)
    back = undo_fit(square, HEIGHT, WIDTH, GAN.fit).copy()
    with torch.inference_mode():
        [probs] = extractor.predictor(back, InferenceSettings())
    extractor.predictor.threshold = float(np.median(probs))
    expected = vessel_statistics(probs >= np.median(probs), estimate_fov(back))
    assert extractor(square)[1] == pytest.approx(expected, nan_ok=True)
    assert expected.length > 20


@pytest.mark.parametrize(
    ("names", "vessels"), [(("rest", "disc", "vessel"), [2]), (("rest", "artery", "vein"), [1, 2])]
)
def test_vessels_of_several_classes_are_the_class_of_that_name_or_the_foreground(
    tmp_path: Path, photographs: list[Path], names: tuple[str, ...], vessels: list[int]
) -> None:
    torch.manual_seed(0)
    classes = Classes(kind="multiclass", names=names)
    save_network(
        tmp_path / "teacher",
        build_model(SMALL, 3).state_dict(),
        SMALL,
        GeometrySettings(),
        0.5,
        trained_by="teacher",
        classes=classes,
    )
    extractor = TeacherFeatures(tmp_path / "teacher", HEIGHT, WIDTH, GAN)
    square = read_square(photographs[1], GAN)
    back = undo_fit(square, HEIGHT, WIDTH, GAN.fit).copy()
    with torch.inference_mode():
        labels = extractor.predictor(back, InferenceSettings()).argmax(axis=0)
    expected = vessel_statistics(np.isin(labels, vessels), estimate_fov(back))
    assert extractor(square)[1] == pytest.approx(expected, nan_ok=True)
    assert expected.length > 20


@pytest.mark.parametrize("fit", ["pad", "crop", "squash"])
@pytest.mark.parametrize(("channels", "kept"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (4, [0, 1, 2])])
def test_a_square_of_any_channels_goes_back_as_colours_or_as_gray(fit: str, channels: int, kept: list[int]) -> None:
    square = np.random.default_rng(0).integers(0, 256, (16, 16, channels), dtype=np.uint8)
    back = undo_fit(square, 20, 24, fit)  # type: ignore[arg-type]
    for channel, source in enumerate(kept):
        alone = np.ascontiguousarray(np.repeat(square[:, :, source : source + 1], 3, axis=2))
        np.testing.assert_array_equal(back[:, :, channel], undo_fit(alone, 20, 24, fit)[:, :, 0])  # type: ignore[arg-type]


def test_a_photographs_square_is_that_of_the_discriminator(photographs: list[Path]) -> None:
    shown = load_images(photographs, GAN)
    for number, path in enumerate(photographs):
        assert np.array_equal(read_square(path, GAN), shown[number].permute(1, 2, 0).numpy())


def test_a_generated_image_equal_to_a_photograph_has_the_same_features(
    teacher: Path, photographs: list[Path], generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    square = read_square(photographs[2], GAN)
    monkeypatch.setattr("pipelines.fidelity.features.generate", lambda *_: square)
    task = task_of(teacher, photographs, generator)
    images = ImageSet("test", "test", {"photograph": photographs[2], "generated": 7})
    photographed, drawn = extract(task, images, ON_CPU, Path(), "test")
    assert np.array_equal(photographed.features, drawn.features)
    assert photographed.vessels == pytest.approx(drawn.vessels, nan_ok=True)
    assert np.array_equal(photographed.match.distances, drawn.match.distances)
    assert drawn.match.nearest == 2


def test_a_generated_set_holds_the_images_of_its_seeds_at_its_psi(
    teacher: Path, photographs: list[Path], generator: Generator
) -> None:
    images = generated_set(5, 2, 0.3)
    assert list(images.sources) == ["seed0005", "seed0006"]
    square = task_of(teacher, photographs, generator).square(images, "seed0005")
    assert np.array_equal(square, generate(generator, 5, 0.3))
    assert not np.array_equal(square, generate(generator, 5, 1.0))


def test_features_do_not_depend_on_the_images_before(teacher: Path, photographs: list[Path]) -> None:
    extractor, fresh = (TeacherFeatures(teacher, HEIGHT, WIDTH, GAN) for _ in range(2))
    squares = [read_square(path, GAN) for path in photographs[:2]]
    raw = np.ones((3, sum(fresh.level_sizes)))
    assert fresh.balanced(raw, raw).shape == raw.shape  # before any image
    extractor(squares[0])
    assert np.array_equal(extractor(squares[1])[0], fresh(squares[1])[0])


def test_each_level_makes_up_an_equal_part_of_the_photographs_features(teacher: Path, photographs: list[Path]) -> None:
    extractor = TeacherFeatures(teacher, HEIGHT, WIDTH, GAN)
    raw = np.stack([extractor(read_square(path, GAN))[0] for path in photographs]).astype(np.float64)
    balanced = extractor.balanced(raw, raw)
    parts = np.split(np.square(balanced).sum(axis=1), 1)[0]
    assert parts.mean() == pytest.approx(raw.shape[1])
    first = extractor.level_sizes[0]
    assert np.square(balanced[:, :first]).sum(axis=1).mean() == pytest.approx(raw.shape[1] / len(extractor.level_sizes))
    assert extractor.balanced(3 * raw, 3 * raw) == pytest.approx(balanced)
    assert extractor.balanced(raw[:2], raw) == pytest.approx(balanced[:2])


def test_a_level_of_zeros_is_not_divided_by_zero(teacher: Path, photographs: list[Path]) -> None:
    extractor = TeacherFeatures(teacher, HEIGHT, WIDTH, GAN)
    raw = np.stack([extractor(read_square(path, GAN))[0] for path in photographs]).astype(np.float64)
    raw[:, : extractor.level_sizes[0]] = 0
    assert np.isfinite(extractor.balanced(raw, raw)).all()


def test_an_extractor_is_named_by_the_stage_of_its_model_or_by_its_folder(teacher: Path, tmp_path: Path) -> None:
    assert TeacherFeatures(teacher, HEIGHT, WIDTH, GAN).name == "teacher"
    save_network(tmp_path / "my-net-0123456789ab", build_model(SMALL).state_dict(), SMALL, GeometrySettings())
    assert TeacherFeatures(tmp_path / "my-net-0123456789ab", HEIGHT, WIDTH, GAN).name == "my_net"


def test_an_ensemble_is_refused(teacher: Path, tmp_path: Path) -> None:
    save_ensemble(tmp_path / "both", {"a": teacher, "b": teacher}, "mean", [0.5, 0.5], 0.5, "fixed-0.5", None)
    with pytest.raises(RequestError, match="ensemble"):
        load_extractor(tmp_path / "both", HEIGHT, WIDTH, GAN)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no model"):
        load_extractor(tmp_path, HEIGHT, WIDTH, GAN)


class Means(torch.nn.Module):
    """A stand-in for the Inception file."""

    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return images.float().mean(dim=[2, 3])


def test_a_torchscript_file_gets_the_square_and_measures_no_vessels(photographs: list[Path], tmp_path: Path) -> None:
    script(Means(), tmp_path / "inception-2015-12-05.pt")
    extractor = load_extractor(tmp_path / "inception-2015-12-05.pt", HEIGHT, WIDTH, GAN)
    assert isinstance(extractor, ScriptFeatures)
    assert extractor.name == "inception_2015_12_05"
    square = read_square(photographs[0], GAN)
    features, vessels = extractor(square)
    np.testing.assert_allclose(features, square.mean(axis=(0, 1)), rtol=1e-5)
    assert vessels is None
    raw = np.ones((3, 3))
    assert extractor.balanced(raw, raw) is raw


class Flat(torch.nn.Module):
    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return images.float().mean()


class WithoutFeatures(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean(dim=[2, 3])


def script(module: torch.nn.Module, path: Path) -> ScriptFeatures:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have it exported
        torch.jit.script(module).save(str(path))
    return ScriptFeatures(path)


@pytest.mark.parametrize(("channels", "kept"), [(1, [0, 0, 0]), (4, [0, 1, 2])])
def test_a_torchscript_file_gets_three_channels(channels: int, kept: list[int], tmp_path: Path) -> None:
    square = np.random.default_rng(0).integers(0, 256, (8, 8, channels), dtype=np.uint8)
    features, _ = script(Means(), tmp_path / "net.pt")(square)
    np.testing.assert_allclose(features, square.mean(axis=(0, 1))[kept], rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (WithoutFeatures(), r"could not be called as module\(uint8 images \(n, 3, r, r\), return_features=True\)"),
        (Flat(), r"returned \(\) for 1 image; \(n, d\) is expected"),
    ],
)
def test_a_network_of_another_kind_is_refused(module: torch.nn.Module, words: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=words):
        script(module, tmp_path / "net.pt")(np.zeros((8, 8, 3), np.uint8))


def test_files_are_named_without_their_suffix_unless_two_would_be_alike(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "b.tif")]
    assert list(set_of_files("test", "test", paths).sources) == ["a", "b.png", "b.tif"]


def test_features_do_not_depend_on_the_order(teacher: Path, photographs: list[Path]) -> None:
    task = task_of(teacher, photographs)
    forward, backward = extracted(task, photographs[:3]), extracted(task, photographs[2::-1])[::-1]
    assert [image.name for image in forward] == ["0", "1", "2"]
    for a, b in zip(forward, backward, strict=True):
        assert a.name == b.name
        assert np.array_equal(a.features, b.features)
        assert np.array_equal(a.match.distances, b.match.distances)
    assert extracted(task, []) == []


def test_photographs_of_another_size_are_brought_to_the_first_one_s(teacher: Path, tmp_path: Path) -> None:
    images.write_image(tmp_path / "large.png", phantom.draw(0, 2 * HEIGHT, 2 * WIDTH).image)
    features, _ = TeacherFeatures(teacher, HEIGHT, WIDTH, GAN)(read_square(tmp_path / "large.png", GAN))
    assert np.isfinite(features).all()
    shutil.rmtree(tmp_path)
