"""What is seen of an image, and that photographs and drawn images are seen alike."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from gan.data import load_images, undo_fit
from gan.fidelity.copies import CopySearch
from gan.generator import Generator
from gan.sampling import generate
from gan.settings import GanSettings, SamplingSettings
from pipelines.fidelity.looks import FileLook, TeacherLook, open_look
from pipelines.fidelity.observation import Observer, observe, of_files, of_seeds, square_of_file
from segkit.core import images
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


def observer(teacher: Path, photographs: list[Path], generator: Generator | None = None) -> Observer:
    copies = CopySearch(np.stack([square_of_file(path, GAN) for path in photographs]))
    return Observer(TeacherLook(teacher, HEIGHT, WIDTH, GAN), copies, GAN, generator)


def test_a_teacher_s_features_are_means_and_deviations_of_its_encoder_s_channels(
    teacher: Path, photographs: list[Path]
) -> None:
    look = TeacherLook(teacher, HEIGHT, WIDTH, GAN)
    assert isinstance(look.predictor, NetworkPredictor)
    square = square_of_file(photographs[0], GAN)
    seen = look(square)
    back = undo_fit(square, HEIGHT, WIDTH, GAN.fit).copy()
    padded = np.pad(back, [(0, -HEIGHT % SMALL.stride), (0, -WIDTH % SMALL.stride), (0, 0)])
    fresh = build_model(SMALL).eval()
    fresh.load_state_dict(look.predictor.network.state_dict())
    with torch.inference_mode():
        levels = fresh.features(torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255)  # type: ignore[operator]
    expected = [value for level in levels for value in (level.mean((0, 2, 3)), level.std((0, 2, 3), correction=0))]
    np.testing.assert_allclose(seen.features, torch.cat(expected), rtol=1e-4, atol=1e-5)
    assert look.level_sizes == [2 * len(level[0]) for level in levels]


def test_a_teacher_s_vessels_are_its_map_of_the_image_at_the_photographs_size(
    teacher: Path, photographs: list[Path]
) -> None:
    look = TeacherLook(teacher, HEIGHT, WIDTH, GAN)
    square = square_of_file(photographs[1], GAN)
    back = undo_fit(square, HEIGHT, WIDTH, GAN.fit).copy()
    with torch.inference_mode():
        probs = look.predictor(back, InferenceSettings())
    look.predictor.threshold = float(np.median(probs))
    expected = vessel_statistics(probs >= np.median(probs), estimate_fov(back))
    assert look(square).vessels == pytest.approx(expected, nan_ok=True)
    assert expected.length > 20


@pytest.mark.parametrize("fit", ["pad", "crop", "squash"])
@pytest.mark.parametrize(("channels", "kept"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (4, [0, 1, 2])])
def test_a_square_of_any_channels_goes_back_as_colours_or_as_gray(fit: str, channels: int, kept: list[int]) -> None:
    square = np.random.default_rng(0).integers(0, 256, (16, 16, channels), dtype=np.uint8)
    back = undo_fit(square, 20, 24, fit)  # type: ignore[arg-type]
    for channel, source in enumerate(kept):
        alone = np.ascontiguousarray(np.repeat(square[:, :, source : source + 1], 3, axis=2))
        np.testing.assert_array_equal(back[:, :, channel], undo_fit(alone, 20, 24, fit)[:, :, 0])  # type: ignore[arg-type]


def test_a_photograph_is_seen_as_the_square_the_discriminator_is_shown(photographs: list[Path]) -> None:
    shown = load_images(photographs, GAN)
    for number, path in enumerate(photographs):
        assert np.array_equal(square_of_file(path, GAN), shown[number].permute(1, 2, 0).numpy())


def test_an_image_drawn_like_a_photograph_is_seen_like_it(
    teacher: Path, photographs: list[Path], generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte: nothing tells the measures which of the two it was."""
    square = square_of_file(photographs[2], GAN)
    monkeypatch.setattr("pipelines.fidelity.observation.generate", lambda *_: square)
    look = observer(teacher, photographs, generator)
    subjects = [*of_files([photographs[2]]), *of_seeds([7], SamplingSettings())]
    photographed, drawn = observe(look, subjects, ON_CPU, Path(), "test")
    assert np.array_equal(photographed.seen.features, drawn.seen.features)
    assert photographed.seen.vessels == pytest.approx(drawn.seen.vessels, nan_ok=True)
    assert np.array_equal(photographed.match.distances, drawn.match.distances)
    assert drawn.match.nearest == 2


def test_what_is_drawn_is_what_the_seed_draws_with_the_sampling_asked_for(
    teacher: Path, photographs: list[Path], generator: Generator
) -> None:
    look = observer(teacher, photographs, generator)
    how = SamplingSettings(truncation_psi=0.3, noise_mode="none")
    [subject] = of_seeds([5], how)
    assert subject.name == "seed0005"
    assert np.array_equal(look.square(subject), generate(generator, 5, 0.3, None, "none"))


def test_each_level_makes_up_an_equal_part_of_the_photographs_features(teacher: Path, photographs: list[Path]) -> None:
    look = TeacherLook(teacher, HEIGHT, WIDTH, GAN)
    raw = np.stack([look(square_of_file(path, GAN)).features for path in photographs]).astype(np.float64)
    balanced = look.balanced(raw, raw)
    parts = np.split(np.square(balanced).sum(axis=1), 1)[0]
    assert parts.mean() == pytest.approx(raw.shape[1])
    first = look.level_sizes[0]
    assert np.square(balanced[:, :first]).sum(axis=1).mean() == pytest.approx(raw.shape[1] / len(look.level_sizes))
    assert look.balanced(3 * raw, 3 * raw) == pytest.approx(balanced)
    assert look.balanced(raw[:2], raw) == pytest.approx(balanced[:2])


def test_a_level_that_never_answers_divides_nothing_by_zero(teacher: Path, photographs: list[Path]) -> None:
    look = TeacherLook(teacher, HEIGHT, WIDTH, GAN)
    raw = np.stack([look(square_of_file(path, GAN)).features for path in photographs]).astype(np.float64)
    raw[:, : look.level_sizes[0]] = 0
    assert np.isfinite(look.balanced(raw, raw)).all()


def test_a_look_is_named_by_the_stage_that_trained_the_model_or_by_its_file(teacher: Path, tmp_path: Path) -> None:
    assert TeacherLook(teacher, HEIGHT, WIDTH, GAN).name == "teacher"
    save_network(tmp_path / "my-net-0123456789ab", build_model(SMALL).state_dict(), SMALL, GeometrySettings())
    assert TeacherLook(tmp_path / "my-net-0123456789ab", HEIGHT, WIDTH, GAN).name == "my_net"


def test_an_ensemble_is_refused(teacher: Path, tmp_path: Path) -> None:
    save_ensemble(tmp_path / "both", {"a": teacher, "b": teacher}, "mean", [0.5, 0.5], 0.5, "fixed-0.5", None)
    with pytest.raises(RequestError, match="is an ensemble; features come from one network"):
        open_look(tmp_path / "both", HEIGHT, WIDTH, GAN)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no model"):
        open_look(tmp_path, HEIGHT, WIDTH, GAN)


class Means(torch.nn.Module):
    """A stand-in for the Inception file."""

    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return images.float().mean(dim=[2, 3])


def test_a_torchscript_file_sees_the_square_itself_and_no_vessels(photographs: list[Path], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have it exported
        torch.jit.script(Means()).save(str(tmp_path / "inception-2015-12-05.pt"))
    look = open_look(tmp_path / "inception-2015-12-05.pt", HEIGHT, WIDTH, GAN)
    assert isinstance(look, FileLook)
    assert look.name == "inception_2015_12_05"
    square = square_of_file(photographs[0], GAN)
    seen = look(square)
    np.testing.assert_allclose(seen.features, square.mean(axis=(0, 1)), rtol=1e-5)
    assert seen.vessels is None
    raw = np.ones((3, 3))
    assert look.balanced(raw, raw) is raw


def test_files_are_named_without_their_suffix_unless_two_would_be_alike(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "b.tif")]
    assert [subject.name for subject in of_files(paths)] == ["a", "b.png", "b.tif"]


def test_what_is_seen_does_not_depend_on_the_order(teacher: Path, photographs: list[Path]) -> None:
    subjects = of_files(photographs[:3])
    look = observer(teacher, photographs)
    one = observe(look, subjects, ON_CPU, Path(), "test")
    other = observe(look, subjects[::-1], ON_CPU, Path(), "test")[::-1]
    assert [each.name for each in one] == ["0", "1", "2"]
    for a, b in zip(one, other, strict=True):
        assert a.name == b.name
        assert np.array_equal(a.seen.features, b.seen.features)
        assert np.array_equal(a.match.distances, b.match.distances)
    assert observe(look, [], ON_CPU, Path(), "test") == []


def test_photographs_of_another_size_are_brought_to_the_first_one_s(teacher: Path, tmp_path: Path) -> None:
    images.write_image(tmp_path / "large.png", phantom.draw(0, 2 * HEIGHT, 2 * WIDTH).image)
    seen = TeacherLook(teacher, HEIGHT, WIDTH, GAN)(square_of_file(tmp_path / "large.png", GAN))
    assert np.isfinite(seen.features).all()
    shutil.rmtree(tmp_path)
