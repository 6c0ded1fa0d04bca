import numpy as np
import pytest
from skimage import color, exposure

from segkit.core.config import validate
from segkit.core.errors import ConfigError
from segkit.data.preprocessing import channel_statistics, preprocess, whitening
from segkit.data.settings import NO_PREPROCESSING, PreprocessingSettings


def photograph(height=60, width=52, seed=0):
    """Smooth random colours inside a disc, black outside, and the disc."""
    from scipy import ndimage

    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (3, 3, 0))
    y, x = np.mgrid[:height, :width]
    region = np.hypot(y - height / 2, x - width / 2) < 24
    image = np.clip(np.array([160, 110, 60]) + 250 * smooth, 1, 254) * region[..., None]
    return image.astype(np.uint8), region


def preprocessed(**settings):
    return preprocess(*photograph(), PreprocessingSettings(**settings))


def test_without_settings_the_image_stays_as_it_is():
    image, region = photograph()
    np.testing.assert_array_equal(preprocess(image, region, NO_PREPROCESSING), image)


def test_green_is_the_second_channel():
    np.testing.assert_array_equal(preprocessed(channels="green"), photograph()[0][..., 1:2])


def test_grey_is_the_luma_of_television():
    expected = photograph()[0] @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(preprocessed(channels="grey")[..., 0], expected, atol=0.51)


@pytest.mark.parametrize("gamma", [0.5, 1.2])
def test_gamma_is_scikit_image_s(gamma):
    expected = exposure.adjust_gamma(photograph()[0] / 255, gamma) * 255
    np.testing.assert_allclose(preprocessed(gamma=gamma), expected, atol=0.51)


def test_clahe_of_one_channel_spreads_its_levels_and_keeps_its_order_within_a_tile():
    green = photograph()[0][..., 1]
    equalised = preprocessed(channels="green", clahe_clip_limit=4, clahe_grid=1)[..., 0]
    assert equalised.std() > green.std()
    order = np.argsort(green, axis=None)
    assert (np.diff(equalised.ravel()[order].astype(int)) >= 0).all()


def test_clahe_of_a_colour_image_changes_its_lightness_and_hardly_its_colours():
    image, region = photograph()
    before, after = (color.rgb2lab(picture)[region] for picture in (image, preprocessed(clahe_clip_limit=2)))
    change = np.abs(after - before).mean(axis=0)
    assert change[0] > 3
    assert change[1:].max() < 0.7 * change[0]


@pytest.mark.parametrize("channels", ["rgb", "green", "grey"])
def test_an_image_normalised_by_itself_has_mean_0_and_deviation_1_inside_its_region(channels):
    region = photograph()[1]
    plain = preprocessed(channels=channels)[region].astype(float)
    scores = (preprocessed(channels=channels, normalization="image")[region] / 255 - 0.5) / 0.1
    expected = (plain - plain.mean(axis=0)) / plain.std(axis=0)
    np.testing.assert_allclose(scores, np.clip(expected, -5, 5), atol=0.5 / 25.5 + 1e-6)


def test_what_lies_outside_the_region_does_not_change_a_normalised_image():
    image, region = photograph()
    other = np.where(region[..., None], image, np.uint8(255))
    results = [preprocess(one, region, PreprocessingSettings(normalization="image")) for one in (image, other)]
    np.testing.assert_array_equal(results[0][region], results[1][region])


@pytest.mark.parametrize("normalization", ["none", "image"])
def test_black_and_white_images_and_empty_regions_give_finite_images(normalization):
    settings = PreprocessingSettings(channels="green", clahe_clip_limit=2, normalization=normalization)
    for level in (0, 255):
        for region in (np.zeros((20, 18), bool), np.ones((20, 18), bool)):
            result = preprocess(np.full((20, 18, 3), level, np.uint8), region, settings)
            assert result.shape == (20, 18, 1)
            assert len(np.unique(result)) == 1


def test_channel_statistics_are_those_of_all_pixels_in_the_regions_together():
    photographs = [photograph(seed=seed) for seed in range(3)]
    pixels = np.concatenate([image[region] for image, region in photographs]) / 255
    mean, deviation = channel_statistics(photographs)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(deviation, pixels.std(axis=0), atol=1e-12)


def correlated_patches(count=4000, side=5):
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(2 * side**2, 2 * side**2)) * 8
    values = np.clip(128 + rng.normal(size=(count, 2 * side**2)) @ mixing / 3, 0, 255).astype(np.uint8)
    return values.reshape(count, 2, side, side).transpose(0, 2, 3, 1)


def test_whitened_patches_have_the_identity_as_covariance():
    patches = correlated_patches()
    mean, matrix = whitening(iter(np.split(patches, 8)), epsilon=1e-12)
    values = patches.transpose(0, 3, 1, 2).reshape(len(patches), -1) / 255
    whitened = (values - mean) @ matrix.T
    np.testing.assert_allclose(np.cov(whitened.T, bias=True), np.eye(50), atol=1e-6)
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-9)
    assert np.abs(np.cov(values.T, bias=True) - np.eye(50)).max() > 0.5


def test_the_whitening_is_that_of_the_whole_sample_whatever_the_batches():
    patches = correlated_patches(700)
    values = patches.transpose(0, 3, 1, 2).reshape(len(patches), -1) / 255
    variances, directions = np.linalg.eigh(np.cov(values.T, bias=True))
    expected = directions @ np.diag((variances + 0.01) ** -0.5) @ directions.T  # Krizhevsky 2009, Appendix A
    for bounds in ([], [1, 2, 300], [699]):
        mean, matrix = whitening(iter(np.split(patches, bounds)), epsilon=0.01)
        np.testing.assert_allclose(mean, values.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(matrix, expected, atol=1e-8)


def test_fewer_patches_than_values_still_give_a_finite_whitening():
    _, matrix = whitening(iter([correlated_patches(10)]), epsilon=1e-3)
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"normalization": "patch"},
        {"normalization": "zca"},
        {"normalization": "zca", "patch_size": 64},
        {"normalization": "zca", "patch_size": 80, "channels": "green"},
        {"gamma": 0},
        {"clahe_clip_limit": 0},
        {"channels": "blue"},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError):
        validate(PreprocessingSettings, wrong, "here")
