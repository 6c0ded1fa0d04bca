import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gan.drawing.distances import FeatureSource, pyramid_measure
from gan.drawing.projection import ProjectionSettings, project
from gan.drawing.projection_folder import ProjectionFolder
from gan.drawing.seed_folder import weights_digest
from gan.networks.noise import stored_noise
from segkit.core import images
from segkit.core.errors import RequestError
from segkit.core.files import TEMPORARY
from tests.gan.small_networks import networks, tiny

GENERATOR = networks(tiny())["generator_ema"].requires_grad_(False)
FILES = ["comparison.png", "distances.csv", "projected.png", "w.safetensors"]


def target(seed=0, channels=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, 16, 16), generator=generator, dtype=torch.uint8)


def found(levels, generator=GENERATOR):
    return project(generator, levels.float() / 127.5 - 1, pyramid_measure, ProjectionSettings(num_steps=1))


def claim(folder, generator=GENERATOR, device="cpu", digest=None, **settings):
    claimed = ProjectionFolder(folder, tiny())
    features = None if digest is None else FeatureSource(folder / "teacher", digest, lambda image: [image])
    claimed.claim(generator, ProjectionSettings(**settings), device, folder / "w", features)


def test_the_record_tells_all_that_can_change_a_byte(tmp_path):
    for _ in range(2):  # the second time it is there
        claim(tmp_path, num_steps=7, digest="abc")
        assert json.loads((tmp_path / "projection.json").read_text()) == {
            "weights_sha256": weights_digest(GENERATOR, tiny()),
            "features_sha256": "abc",
            **ProjectionSettings(num_steps=7).model_dump(),
            "device": "cpu",
            "weights": str(tmp_path / "w"),
            "features": str(tmp_path / "teacher"),
        }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_steps": 9}, "holds projections made with num_steps = 1000, not 9; choose another folder"),
        ({"space": "w+"}, "holds projections made with space = w, not w+"),
        ({"noise": "const"}, "holds projections made with noise = optimise, not const"),
        ({"seed": 1}, "holds projections made with seed = 0, not 1"),
        ({"device": "cuda"}, "holds projections made with device = cpu, not cuda"),
        ({"digest": "abc"}, r"holds projections of other features \(none\)"),
        ({"generator": networks(tiny(), seed=1)["generator_ema"]}, r"holds projections of other weights \(.*w\)"),
    ],
)
def test_projections_that_would_be_made_otherwise_do_not_mix(tmp_path, changes, words):
    claim(tmp_path)
    with pytest.raises(RequestError, match=words):
        claim(tmp_path, **changes)


def test_projections_that_nobody_knows_of_are_left_alone(tmp_path):
    (tmp_path / "photo").mkdir()
    (tmp_path / "photo" / "w.safetensors").touch()
    with pytest.raises(RequestError):
        claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_projection_is_there_once_it_is_written_and_shows_what_it_is_of(tmp_path, channels):
    settings = tiny(image_channels=channels, augment_transforms="bg")
    generator = networks(settings)["generator_ema"].requires_grad_(False)
    folder, levels = ProjectionFolder(tmp_path, settings), target(channels=channels)
    assert not folder.holds("photo", levels)
    projection = found(levels, generator)
    folder.write("photo", levels, projection)
    assert folder.holds("photo", levels)
    assert sorted(path.name for path in (tmp_path / "photo").iterdir()) == FILES
    shown = images.read_image(tmp_path / "photo" / "comparison.png")[:, :16]
    colours = levels[:3] if channels > 2 else levels[:1].expand(3, -1, -1)
    np.testing.assert_array_equal(shown, colours.permute(1, 2, 0))
    tensors = load_file(tmp_path / "photo" / "w.safetensors")
    assert torch.equal(tensors.pop("w"), projection.ws[0])
    assert tensors.keys() == {f"noise.{name}" for name in stored_noise(generator.synthesis)}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["gone", "cut short"])
def test_a_projection_that_lacks_a_file_is_not_there(tmp_path, name, how):
    if name == "distances.csv":
        how = "gone"  # text has no mark of its end; it is written whole or not at all
    folder, levels = ProjectionFolder(tmp_path, tiny()), target()
    folder.write("photo", levels, found(levels))
    path = tmp_path / "photo" / name
    whole = path.read_bytes()
    path.unlink()
    if how == "cut short":
        path.write_bytes(whole[:-9])
    assert not folder.holds("photo", levels)


def test_w_is_written_last_so_that_a_killed_process_leaves_none(tmp_path, monkeypatch):
    folder, levels, written = ProjectionFolder(tmp_path, tiny()), target(), []
    for function in ("segkit.core.images.write_bytes", "gan.drawing.projection_folder.write_text"):
        monkeypatch.setattr(function, lambda path, data: written.append(path.name))
    folder.write("photo", levels, found(levels))
    assert sorted(written) == FILES
    assert written[-1] == "w.safetensors"


def test_another_image_of_the_same_name_is_not_passed_over(tmp_path):
    folder = ProjectionFolder(tmp_path, tiny())
    folder.write("photo", target(), found(target()))
    with pytest.raises(RequestError):
        folder.holds("photo", target(seed=1))


def test_what_a_killed_process_was_writing_goes_and_nothing_else(tmp_path):
    for place in (tmp_path, tmp_path / "photo", tmp_path / "other"):
        place.mkdir(exist_ok=True)
        (place / f"{TEMPORARY}x").touch()
    with ProjectionFolder(tmp_path, tiny()).lock(["photo", "new"], on_wait=print):
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob(f"{TEMPORARY}*")}
        assert left == {f"other/{TEMPORARY}x"}
