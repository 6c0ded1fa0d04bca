import numpy as np
import pytest
import torch
from PIL import Image

from segkit.core import images
from segkit.core.classes import Classes
from segkit.core.errors import ImageError
from segkit.core.manifest import Manifest, Row, Source
from segkit.core.missing import own_part
from segkit.data.phantom import draw
from segkit.data.settings import GeometrySettings
from segkit.models import build_model
from segkit.models.heads import Outputs
from segkit.models.settings import SAUNetSettings, UNetSettings
from segkit.tasks import prediction
from segkit.tasks.combine import combine
from segkit.tasks.ensemble import EnsembleTask
from segkit.tasks.prediction import EnsemblePredictor, NetworkPredictor
from segkit.tasks.prediction_files import NOT_SCALED, ImageLoader, MapWriter
from segkit.tasks.settings import InferenceSettings
from segkit.tasks.trainer import build_trainer
from tests.tasks.small import FP32

PLAIN = InferenceSettings()


def predictor(seed=0, threshold=0.5, widths=(4, 8, 8), **geometry):
    torch.manual_seed(seed)
    settings = SAUNetSettings(widths=widths)
    network = build_model(settings)
    with torch.no_grad():
        network.head.weight.mul_(8)
    return NetworkPredictor(network, GeometrySettings(**geometry), settings.stride, threshold)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def look(model, image, **inference):
    with torch.inference_mode():
        return model(image, InferenceSettings(**inference))


@pytest.mark.parametrize("size", [(24, 32), (23, 31), (5, 9), (1, 1), (70, 3)])
@pytest.mark.parametrize("geometry", [{}, {"mode": "resize", "size": 16}])
def test_an_image_of_any_size_gives_a_map_of_that_size(size, geometry):
    probs = look(predictor(**geometry), picture(*size))
    assert probs.shape == (1, *size)
    assert probs.dtype == np.float32
    assert probs.min() >= 0
    assert probs.max() <= 1


def test_a_map_is_what_the_network_says_of_the_padded_image_cut_back():
    model, image = predictor(), picture(23, 30)
    padded = np.zeros((24, 32, 3), np.uint8)
    padded[0:23, 1:31] = image
    with torch.no_grad():
        logits = model.network(torch.from_numpy(padded).permute(2, 0, 1)[None] / 255)[0, 0].numpy()
    expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
    np.testing.assert_allclose(look(model, image), expected[None, 0:23, 1:31], atol=1e-5)


def test_prediction_drops_nothing_and_repeats_exactly():
    model, image = predictor(), picture(24, 24)
    assert not model.network.training
    np.testing.assert_array_equal(look(model, image), look(model, image))


def test_views_and_tiles_reach_the_network():
    model, image = predictor(), picture(150, 90)
    plain = look(model, image)
    for inference in ({"tta": "d4"}, {"tile": 64}, {"tta": "flips", "tile": 64}):
        assert look(model, image, **inference).shape == plain.shape
        assert 1e-4 < np.abs(look(model, image, **inference) - plain).max() < 1


def test_a_tile_is_rounded_up_to_the_networks_stride():
    image = picture(150, 90)
    for geometry in ({}, {"mode": "resize", "size": 96}):
        model = predictor(widths=(4, 8, 8), **geometry)
        rounded = look(model, image, tile=68)
        for tile in (65, 67):
            np.testing.assert_array_equal(look(model, image, tile=tile), rounded)
        assert not np.array_equal(look(model, image, tile=69), rounded)


def test_an_ensemble_combines_its_members_at_the_images_size():
    members, image = [predictor(0), predictor(1, mode="resize", size=16), predictor(2, widths=(4, 8))], picture(23, 31)
    maps = np.stack([look(member, image) for member in members])
    thresholds = [float(np.quantile(one, 0.6)) for one in maps]
    for rule in ("mean", "weighted", "max", "vote", "intersection"):
        ensemble = EnsemblePredictor(members, rule, [0.5, 0.3, 0.2], thresholds, 0.4)
        np.testing.assert_array_equal(look(ensemble, image), combine(maps, rule, [0.5, 0.3, 0.2], thresholds))


@pytest.fixture
def rows(tmp_path):
    made = []
    for number in range(5):
        path = tmp_path / "images" / f"{number}.png"
        images.write_image(path, picture(20 + number, 31 - number, number))
        fov = np.zeros((20 + number, 31 - number), bool)
        fov[3:-3, 2:-2] = True
        images.write_mask(tmp_path / "fov" / f"{number}.png", fov)
        made.append(Row(f"n{number}", "test", Source(path), region=Source(tmp_path / "fov" / f"{number}.png")))
    return Manifest(tuple(made))


def test_each_image_is_written_under_its_name_and_nothing_else_is(tmp_path, rows):
    model = predictor()
    out = tmp_path / "out"
    trainer = build_trainer(FP32, tmp_path, "test", callbacks=[MapWriter(out)])
    trainer.predict(EnsembleTask(model, PLAIN), ImageLoader(rows.rows), return_predictions=False)
    assert sorted(path.name for path in out.iterdir()) == [f"n{number}.png" for number in range(5)]
    for row in rows.rows:
        fov = images.read_mask(*row.region)
        probs = np.where(fov, look(model, images.read_image(*row.image))[0], 0)
        levels = images.read_levels(out / f"{row.name}.png")
        np.testing.assert_allclose(levels, probs * 65535, atol=1.5)
        assert (levels[~fov] == 0).all()
        assert (levels[fov] > 0).any()


def test_on_a_gpu_a_prediction_is_not_rounded_to_tf32(monkeypatch):
    class Watched(NetworkPredictor):
        def forward(self, image, inference, region=None):
            unrounded.append(not torch.backends.cudnn.allow_tf32)
            return np.zeros((1, *image.shape[:2]), np.float32)

    unrounded, plain = [], predictor()
    task = EnsembleTask(Watched(plain.network, GeometrySettings(), 1, 0.5), PLAIN)
    monkeypatch.setattr(EnsembleTask, "device", torch.device("cuda"))
    task.predict_step({"name": "a", "image": picture(8, 8), "region": np.ones((8, 8), bool)}, 0)
    assert unrounded == [True]


class WithAuxiliary(torch.nn.Module):
    """Returns its network's logits, and others beside them."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        logits = self.network(image)
        return Outputs(logits, (logits + 5, logits - 5))


@pytest.mark.parametrize("inference", [{}, {"tta": "d4"}, {"tile": 64}])
def test_auxiliary_outputs_leave_the_prediction_alone(inference):
    plain = predictor()
    further = NetworkPredictor(WithAuxiliary(plain.network), GeometrySettings(), plain.stride)
    image = picture(90, 70)
    np.testing.assert_array_equal(look(further, image, **inference), look(plain, image, **inference))


def of_classes(num_channels, seed=0, **geometry):
    torch.manual_seed(seed)
    settings = UNetSettings(widths=(4, 8, 8))
    network = build_model(settings, num_channels)
    return NetworkPredictor(network, GeometrySettings(**geometry), settings.stride)


@pytest.mark.parametrize("geometry", [{}, {"mode": "resize", "size": 16}])
@pytest.mark.parametrize("inference", [{}, {"tta": "flips"}])
def test_several_classes_give_probabilities_that_sum_to_one_at_the_images_size(geometry, inference):
    probs = look(of_classes(4, **geometry), picture(23, 31), **inference)
    assert probs.shape == (4, 23, 31)
    np.testing.assert_allclose(probs.sum(axis=0), 1, atol=1e-5)


def test_the_map_of_several_classes_is_the_softmax_of_the_padded_image_cut_back():
    model, image = of_classes(3), picture(23, 30)
    padded = np.zeros((24, 32, 3), np.uint8)
    padded[0:23, 1:31] = image
    with torch.no_grad():
        logits = model.network(torch.from_numpy(padded).permute(2, 0, 1)[None] / 255)[0].double().numpy()
    expected = np.exp(logits) / np.exp(logits).sum(axis=0)
    np.testing.assert_allclose(look(model, image), expected[:, 0:23, 1:31], atol=1e-5)


def test_an_ensemble_of_several_classes_combines_members_of_different_geometries():
    members, image = [of_classes(3, 0), of_classes(3, 1, mode="resize", size=16)], picture(23, 31)
    maps = np.stack([look(member, image) for member in members])
    for rule in ("mean", "vote"):
        ensemble = EnsemblePredictor(members, rule, [0.5, 0.5], [0.5, 0.5])
        np.testing.assert_array_equal(look(ensemble, image), combine(maps, rule, [0.5, 0.5], [0.5, 0.5]))


def test_maps_of_several_classes_are_written_as_pages_and_as_an_index_map(tmp_path, rows):
    model, classes = of_classes(3), Classes(kind="multiclass", names=("a", "b", "c"))
    writer = MapWriter(tmp_path / "probs", classes, tmp_path / "labels")
    assert writer.missing(rows.rows) == list(rows.rows)
    trainer = build_trainer(FP32, tmp_path, "test", callbacks=[writer])
    trainer.predict(EnsembleTask(model, PLAIN), ImageLoader(rows.rows), return_predictions=False)
    assert writer.missing(rows.rows) == []
    assert sorted(path.name for path in (tmp_path / "probs").iterdir()) == [f"n{number}.tif" for number in range(5)]
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == [f"n{number}.png" for number in range(5)]
    for row in rows.rows:
        region = images.read_mask(*row.region)
        background = np.array([1, 0, 0])[:, None, None]
        probs = np.where(region, look(model, images.read_image(*row.image)), background)
        levels = np.stack([images.read_levels(tmp_path / "probs" / f"{row.name}.tif", page) for page in range(3)])
        np.testing.assert_allclose(levels, probs * 65535, atol=1.5)
        indices = images.read_indices(tmp_path / "labels" / f"{row.name}.png")
        np.testing.assert_array_equal(indices, levels.argmax(axis=0))


def odd_pictures(folder):
    """Pictures of unusual kinds, and what is warned of each."""
    colour = picture(40, 50)
    gray = Image.fromarray(colour[:, :, 0])
    label = Image.fromarray(np.where(colour[:, :, 0] > 99, 255, 0).astype(np.uint8))
    animation = {"save_all": True, "append_images": [Image.fromarray(255 - colour)]}
    palette = "not more than 256 colours, as in a GIF; give the original photograph"
    alpha = Image.fromarray(np.dstack([colour, colour[:, :, 0]]))
    kinds = {
        "colour.png": (Image.fromarray(colour), {}, []),
        "alpha.png": (alpha, {}, []),
        "cmyk.jpg": (Image.fromarray(colour).convert("CMYK"), {}, []),
        "colour.webp": (Image.fromarray(colour), {}, []),
        "colour.bmp": (Image.fromarray(colour), {}, []),
        "gray.png": (gray, {}, ["gray, not in colour"]),
        "deep.png": (Image.fromarray(colour[:, :, 0].astype(np.uint16) * 257), {}, ["gray, not in colour"]),
        "label.png": (label, {}, ["only 2 gray levels, as in a label map"]),
        "moving.gif": (Image.fromarray(colour), animation, [palette, "the first of 2 frames is used"]),
        "palette.png": (Image.fromarray(colour).quantize(200), {}, [palette]),
        "pages.tif": (Image.fromarray(colour), animation, ["the first of 2 frames is used"]),
        "one.png": (Image.fromarray(colour[:1, :1]), {}, ["only 1x1 pixels", "blank, so nothing is predicted"]),
        "dark.png": (Image.fromarray(colour // 16), {}, ["nearly black, its brightest level is 15 of 255"]),
        "black.png": (Image.fromarray(colour * 0), {}, ["blank, so nothing is predicted"]),
    }
    for name, (made, options, _) in kinds.items():
        made.save(folder / name, **options)
    return {name: warnings for name, (_, _, warnings) in kinds.items()}


def test_pictures_that_may_be_no_photographs_are_predicted_with_a_warning(tmp_path):
    expected, reported = odd_pictures(tmp_path), {}
    loader = ImageLoader(
        [Row(name, "test", Source(tmp_path / name)) for name in expected],
        lambda row, kind, text: reported.setdefault(row.name, []).append((kind, text)),
    )
    assert [item["name"] for item in loader] == list(expected)
    assert reported == {name: [("warning", text) for text in texts] for name, texts in expected.items() if texts}


@pytest.mark.parametrize(("cut", "auto_scale", "num_warnings"), [(0, True, 0), (30, True, 1), (30, False, 0)])
def test_an_image_without_a_border_that_would_be_scaled_is_warned_of(tmp_path, cut, auto_scale, num_warnings):
    images.write_image(tmp_path / "a.png", draw(0, 96, 92).image[cut : 96 - cut, cut : 92 - cut])
    reported = []
    row = Row("a", "test", Source(tmp_path / "a.png"))
    list(ImageLoader([row], lambda *remark: reported.append(remark[1:]), auto_scale=auto_scale))
    assert reported == [("warning", NOT_SCALED)] * num_warnings


def test_an_image_that_cannot_be_read_is_reported_or_raised(tmp_path, rows):
    (tmp_path / "bad.png").write_text("hello")
    images.write_mask(tmp_path / "small.png", np.ones((3, 3), bool))
    bad = Row("bad", "test", Source(tmp_path / "bad.png"))
    other = Row("other", "test", rows.rows[0].image, region=Source(tmp_path / "small.png"))
    reported = []
    loader = ImageLoader([bad, rows.rows[0], other], lambda row, kind, text: reported.append((row.name, kind)))
    assert [item["name"] for item in loader] == ["n0"]
    assert ("bad", "error") in reported
    assert ("other", "error") in reported
    with pytest.raises(ImageError, match=r"bad\.png"):
        list(ImageLoader([bad]))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_ranks_share_the_images_among_them(rows, world_size):
    parts = [own_part(rows.rows, rank, world_size) for rank in range(world_size)]
    assert sorted(row.name for part in parts for row in part) == [row.name for row in rows.rows]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_an_image_of_very_many_pixels_is_predicted_in_tiles_and_a_smaller_one_whole(monkeypatch):
    sizes = []

    class Recorder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Conv2d(3, 1, 1)

        def forward(self, image):
            sizes.extend([tuple(image.shape[-2:])] * len(image))
            return self.head(image)

    monkeypatch.setattr(prediction, "MAX_WHOLE_PIXELS", 64 * 500)
    monkeypatch.setattr(prediction, "AUTOMATIC_TILE", 64)
    predictor = NetworkPredictor(Recorder(), GeometrySettings(), stride=8)
    wide = np.random.default_rng(0).integers(0, 256, (72, 2000, 3), dtype=np.uint8)
    with torch.inference_mode():
        tiled = predictor(wide, InferenceSettings())
        assert sizes == [(64, 64)] * 2 * 36  # steps of 56 pixels: 64 + 35 x 56 reach 2000 columns
        sizes.clear()
        whole = predictor(wide[:, :400], InferenceSettings())
        assert sizes == [(72, 400)]
    assert tiled.shape == (1, 72, 2000)
    np.testing.assert_allclose(tiled[:, :, :400], whole, atol=1e-5)  # a 1x1 convolution has no context
