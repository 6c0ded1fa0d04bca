"""Preprocessing is part of a model: fitted on training images, saved with it, and repeated wherever it predicts."""

import numpy as np
import pytest
import torch

import segkit
from segkit.core import images
from segkit.core.config import validate
from segkit.core.errors import ConfigError
from segkit.core.manifest import Manifest
from segkit.data.datamodule import LabelledImage, SegmentationDataModule
from segkit.data.settings import PreprocessingSettings
from segkit.models.normalization import NormalizedNetwork
from segkit.models.settings import SAUNetSettings
from segkit.tasks.inference import probabilities
from segkit.tasks.network import build_network, fit_normalization, random_patches
from segkit.tasks.settings import InferenceSettings, TrainSettings
from segkit.tasks.weights import load_predictor, read_card, save_network
from tests.tasks.small import draw, fit, settings

MODEL = SAUNetSettings(widths=(4, 8))
PATCH = {"crop_size": 16, "crops_per_image": 6, "crop_positive_prob": 0.5, "batch_size": 6, "augmentation": "rotations"}
OPTIONS = {
    "image": {"normalization": "image", "clahe_clip_limit": 2},
    "patch": {"normalization": "patch", "patch_size": 16, "gamma": 0.8},
    "dataset": {"normalization": "dataset", "channels": "grey"},
    "zca": {"normalization": "zca", "patch_size": 16, "channels": "green", "zca_num_patches": 300},
}


def wanted(name, **changes):
    base = settings(**(PATCH | {"epochs": 1} | changes)).model_dump()
    base["model"].pop("image_channels")
    return validate(TrainSettings, base | {"preprocessing": OPTIONS[name]}, "here")


def saved(folder, name, task, best, **record):
    values = task.settings
    save_network(folder, best.weights, values.model, values.geometry, preprocessing=values.preprocessing, **record)
    return load_predictor(folder)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_trained_model_predicts_the_same_from_its_files_as_in_the_task(tmp_path, phantoms, name):
    task, _, best, _ = fit(tmp_path, phantoms, wanted(name))
    predictor = saved(tmp_path / "model", name, task, best)
    state = predictor.network.state_dict()
    assert state.keys() == best.weights.keys()
    assert all(torch.equal(value, best.weights[key]) for key, value in state.items())
    data = data_of(phantoms, task.settings)
    data.setup("fit")
    batch = data.val_dataloader().dataset[0]
    row = data.val_rows[0]
    image, region = images.read_image(*row.image), images.read_mask(*row.region)
    with torch.inference_mode():
        expected = probabilities(
            task.eval(), batch["image"], InferenceSettings(), task.settings.preprocessing.patch_size
        )
        result = predictor(image, InferenceSettings(), region)
    inside = batch["region"][0, 0].numpy()
    np.testing.assert_allclose(result[0][region], expected[0, 0].numpy()[inside], atol=1e-6)
    assert read_card(tmp_path / "model").details["preprocessing"]["normalization"] == name


def data_of(manifest, values):
    return SegmentationDataModule(
        manifest,
        Manifest(()),
        values.phases[0],
        values.geometry,
        values.model.stride,
        0,
        preprocessing=values.preprocessing,
    )


def normalization_of(manifest, name):
    values = wanted(name)
    data = data_of(manifest, values)
    data.setup("fit")
    network = build_network(values.model, values.preprocessing)
    fit_normalization([network], values.preprocessing, data.images_to_fit)
    assert isinstance(network, NormalizedNetwork)
    return network.normalization.state_dict()


@pytest.mark.parametrize("name", ["dataset", "zca"])
def test_only_the_training_images_of_a_fold_are_fitted_on(tmp_path, name):
    manifest = draw(tmp_path, ["train", "train", "val", "test"])
    before = normalization_of(manifest, name)
    for row in manifest.rows[2:]:
        images.write_image(row.image.path, 255 - images.read_image(*row.image))
    after = normalization_of(manifest, name)
    assert all(torch.equal(before[key], after[key]) for key in before)
    image = images.read_image(*manifest.rows[0].image)
    images.write_image(manifest.rows[0].image.path, 255 - image)
    changed = normalization_of(manifest, name)
    assert not any(torch.equal(before[key], changed[key]) for key in before)


def test_the_card_shows_the_mean_and_deviation_of_the_training_images(tmp_path, phantoms):
    task, _, best, _ = fit(tmp_path, phantoms, wanted("dataset"))
    saved(tmp_path / "model", "dataset", task, best)
    rows = phantoms.split("train").rows
    luma = [images.read_image(*row.image) @ [0.299, 0.587, 0.114] for row in rows]
    pixels = np.concatenate([grey[images.read_mask(*row.region)] for grey, row in zip(luma, rows, strict=True)]) / 255
    details = read_card(tmp_path / "model").details
    assert details["channel_mean"] == pytest.approx([pixels.mean()], abs=1e-3)
    assert details["channel_deviation"] == pytest.approx([pixels.std()], abs=1e-3)


def test_the_averaged_weights_are_behind_the_same_normalisation(tmp_path, phantoms):
    task, *_ = fit(tmp_path, phantoms, wanted("dataset", ema_decay=0.9))
    mean = task.model.normalization.mean
    assert mean.item() > 0.05
    assert torch.equal(task.averaged.module.normalization.mean, mean)


@pytest.mark.parametrize("channels", ["rgb", "green"])
def test_whitened_training_patches_have_the_identity_as_covariance(channels):
    rng = np.random.default_rng(0)
    count = {"rgb": 3}.get(channels, 1)
    noise = rng.integers(0, 255, (2, 200, 200, count), dtype=np.uint8)
    region = np.ones((200, 200), bool)
    pictures = [LabelledImage(one, np.zeros((1, 200, 200), np.float32), region, None, 1.0) for one in noise]
    preprocessing = PreprocessingSettings(
        channels=channels, normalization="zca", patch_size=16, zca_num_patches=1500, zca_epsilon=1e-9
    )
    network = build_network(MODEL.model_copy(update={"image_channels": count}), preprocessing)
    fit_normalization([network], preprocessing, pictures)
    patches = np.concatenate([np.stack(batch) for batch in random_patches(pictures, preprocessing)])
    whitened = network.normalization(torch.from_numpy(patches).permute(0, 3, 1, 2).float() / 255).flatten(1).numpy()
    np.testing.assert_allclose(np.cov(whitened.T, bias=True), np.eye(count * 256), atol=2e-3)


def test_one_channel_sets_the_network_s_channels():
    values = TrainSettings.model_validate({"preprocessing": {"channels": "green"}})
    assert values.model.image_channels == 1
    assert TrainSettings.model_validate(values.model_dump(mode="json")) == values
    assert TrainSettings().model.image_channels == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"preprocessing": {"channels": "green"}, "model": {"image_channels": 3}},
        {"model": {"image_channels": 1}},
        {"preprocessing": {"normalization": "patch", "patch_size": 32}},
        {"preprocessing": {"patch_size": 32}, "phases": [{"crop_size": 32}, {"crop_size": 64}]},
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ConfigError):
        validate(TrainSettings, wrong, "here")


def pixelwise(image):
    """A network without context."""
    return 6 * image[:, 1:2] - 3


@pytest.mark.parametrize("weights", ["gaussian", "uniform"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("size", [(200, 168), (64, 130), (40, 50)])
def test_without_context_tiles_give_the_whole_image(size, overlap, weights):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    whole = probabilities(pixelwise, image, InferenceSettings())
    tiled = InferenceSettings(tile=64, tile_overlap=overlap, tile_weights=weights)
    torch.testing.assert_close(probabilities(pixelwise, image, tiled), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(probabilities(pixelwise, image, tiled, patch_size=48), whole, rtol=0, atol=1e-5)


def test_a_network_of_patches_sees_nothing_else():
    sizes = set()

    def noting(part):
        sizes.add(tuple(part.shape[1:]))
        return pixelwise(part)

    for size in ((100, 90), (20, 90), (10, 12), (32, 32)):
        for settings_of in (InferenceSettings(), InferenceSettings(tile=64, tta="d4")):
            assert probabilities(noting, torch.rand(1, 3, *size), settings_of, patch_size=32).shape == (1, 1, *size)
    assert sizes == {(3, 32, 32)}


def test_a_patch_model_normalises_each_tile_by_itself(tmp_path, phantoms):
    """A tile that is brightened as a whole gives the same probabilities."""
    values = wanted("patch")
    network = build_network(values.model, values.preprocessing).eval()
    save_network(tmp_path, network.state_dict(), values.model, values.geometry, preprocessing=values.preprocessing)
    image = np.random.default_rng(0).integers(20, 90, (16, 16, 3), dtype=np.uint8)
    plain = PreprocessingSettings(**(OPTIONS["patch"] | {"gamma": 1.0}))
    predictor = load_predictor(tmp_path)
    predictor.preprocessing = plain
    with torch.inference_mode():
        first, second = (predictor(picture, InferenceSettings()) for picture in (image, 2 * image + 10))
    np.testing.assert_allclose(first, second, atol=1e-4)
    assert first.std() > 1e-3


def test_python_gets_the_region_that_the_normalisation_needs(tmp_path, phantoms):
    task, _, best, _ = fit(tmp_path, phantoms, wanted("image"))
    predictor = saved(tmp_path / "model", "image", task, best)
    row = phantoms.split("val").rows[0]
    image, region = images.read_image(*row.image), images.read_mask(*row.region)
    result = segkit.load(tmp_path / "model").predict(image, region=region)
    with torch.inference_mode():
        expected = predictor(image, InferenceSettings(), region)[0]
    np.testing.assert_allclose(result.probs, np.where(region, expected, 0), atol=1 / 65535)
    half = np.where(np.arange(region.shape[1]) < region.shape[1] // 2, region, False)
    assert np.abs(segkit.load(tmp_path / "model").predict(image, region=half).probs - result.probs)[half].max() > 1e-3
