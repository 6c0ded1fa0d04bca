import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from gan.fidelity.copies import (
    FLIPS,
    SLIGHT,
    CopySearch,
    Transform,
    among_themselves,
    closeness,
    copy_threshold,
)
from gan.fidelity.structure import shrink, structure
from gan.training.data import fit_to_square
from segkit.core.images import read_image
from segkit.data import phantom
from tests.reference import gan_fidelity_numpy as reference


def squares(resolution, seeds, height=146, width=141):
    return np.stack([fit_to_square(phantom.draw(seed, height, width).image, resolution) for seed in seeds])


def gate(training):
    """The search, the training images' own closeness, and the threshold."""
    search = CopySearch(training)
    own = among_themselves(np.stack([search.match(image).distances for image in training]))
    return search, own, copy_threshold(own)


def close(search, images):
    return closeness(np.stack([search.match(image).distances for image in images]))


# what is done to a photograph that must not hide it ------------------------------------------------------------------


def noise(image, sd, seed=0):
    noisy = image + np.random.default_rng(seed).normal(0, sd, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def blur(image, sigma):
    return ndimage.gaussian_filter(image, (sigma, sigma, 0))


def resampled(image, resolution):
    small = Image.fromarray(image).resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(small.resize((len(image), len(image)), Image.Resampling.BICUBIC))


def turned(image, degrees):
    return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC))


def enlarged(image, zoom):
    edge, side = len(image), round(len(image) / zoom)
    first = (edge - side) // 2
    middle = Image.fromarray(image).crop((first, first, first + side, first + side))
    return np.asarray(middle.resize((edge, edge), Image.Resampling.BICUBIC))


ALTERED = {
    "the same": lambda image: image,
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "turned by a quarter": np.rot90,
    "shifted": lambda image: np.roll(image, (len(image) // 12, -len(image) // 16), (0, 1)),
    "mirrored and shifted": lambda image: np.roll(image[:, ::-1], len(image) // 10, 1),
    "noisy": lambda image: noise(image, 8),
    "compressed": lambda image: jpeg(image, 50),
    "blurred": lambda image: blur(image, len(image) / 64),
    "resampled at half the resolution": lambda image: resampled(image, len(image) // 2),
    "turned by 5 degrees": lambda image: turned(image, 5),
    "turned by -13 degrees": lambda image: turned(image, -13),
    "enlarged": lambda image: enlarged(image, 1.1),
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "brighter in the shadows": lambda image: (255 * (image / 255) ** 0.7).astype(np.uint8),
    "of another tint": lambda image: np.clip(image * np.array([0.8, 1.2, 1.0]), 0, 255).astype(np.uint8),
}


@pytest.fixture(scope="module", params=[64, 128])
def phantoms(request):
    training = squares(request.param, range(6))
    return training, *gate(training)


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_phantom_counts_as_a_copy_of_the_right_one(phantoms, what):
    training, search, _, threshold = phantoms
    for number in (0, 5):
        match = search.match(np.ascontiguousarray(ALTERED[what](training[number])))
        assert closeness(match.distances[None])[0] < threshold
        assert match.nearest == number


def test_no_other_phantom_counts_as_a_copy(phantoms):
    training, search, own, threshold = phantoms
    others = squares(len(training[0]), range(100, 120))
    assert not (close(search, others) < threshold).any()
    assert own.min() > threshold


def test_what_is_vague_or_empty_is_no_copy(phantoms):
    """The mean of all, a plain disc, black, white and noise: alike to all or to none."""
    training, search, _, threshold = phantoms
    mean = training.mean(axis=0).astype(np.uint8)
    disc = np.repeat(((training.max(axis=(0, 3)) > 60) * np.uint8(150))[..., None], 3, axis=2)
    plain = [np.full_like(mean, level) for level in (0, 255)]
    static = np.random.default_rng(0).integers(0, 256, mean.shape, dtype=np.uint8)
    assert not (close(search, [mean, disc, *plain, static]) < threshold).any()


def test_a_blend_of_two_phantoms_is_a_copy(phantoms):
    training, search, _, threshold = phantoms
    blend = ((training[2].astype(float) + training[4]) / 2).astype(np.uint8)
    assert close(search, [blend])[0] < threshold


def test_at_a_resolution_too_low_to_tell_the_threshold_falls_and_close_copies_are_still_found():
    training = squares(16, range(10), 48, 52)
    search, own, threshold = gate(training)
    assert 0.5 <= threshold < 0.8
    assert (own > threshold).all()
    assert (close(search, [image[:, ::-1] for image in training]) < threshold).all()
    assert (close(search, squares(16, range(100, 130), 48, 52)) < threshold).mean() < 0.1


# DRIVE ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drive(drive_dir):
    paths = sorted(drive_dir.glob("*/images/*.tif"))
    assert len(paths) == 40
    return np.stack([fit_to_square(read_image(path), 64) for path in paths])


@pytest.mark.slow
def test_held_out_photographs_of_drive_hardly_ever_count_as_copies(drive):
    """Any ten of twenty photographs as training images, against the others."""
    photographs = drive[1::2]
    search = CopySearch(photographs)
    distances = np.stack([search.match(image).distances for image in photographs])
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(100):
        training, others = np.split(rng.permutation(20), [10])
        threshold = copy_threshold(among_themselves(distances[np.ix_(training, training)]))
        assert threshold > 0.7
        alarms.append(closeness(distances[np.ix_(others, training)]) < threshold)
    assert np.mean(alarms) < 0.001


@pytest.mark.slow
def test_altered_photographs_of_drive_count_as_copies(drive):
    training = drive[:10]
    search, own, threshold = gate(training)
    assert own.min() > threshold
    missed = [
        (what, number)
        for what, alter in ALTERED.items()
        for number in (0, 4, 9)
        for match in [search.match(np.ascontiguousarray(alter(training[number])))]
        if closeness(match.distances[None])[0] >= threshold or match.nearest != number
    ]
    assert missed == []


# the search -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["phantoms", "pictures without a border"])
def test_the_search_finds_what_trying_all_shifts_and_transforms_finds(what):
    """What a shift moves out on one side does not come in again on the other."""
    if what == "phantoms":
        training, image = squares(16, range(3), 48, 52), squares(16, [50], 48, 52)[0]
    else:
        training = np.random.default_rng(0).integers(60, 256, (3, 16, 16, 3), dtype=np.uint8)
        image = np.roll(training[1], (1, -2), (0, 1))
    search = CopySearch(training)
    picture = structure(image)
    match = search.match(image)
    for number in range(3):
        tried = [
            reference.largest_product(picture, structure(each.apply(training[number])), search.reach)
            for each in search.transforms
        ]
        product, down, right = max(tried)
        assert match.distances[number] == pytest.approx(np.sqrt(2 - 2 * product), abs=1e-5)
        if number == match.nearest:
            assert match.transform == search.transforms[max(range(len(tried)), key=tried.__getitem__)]
            assert match.shift == (down, right)


def test_the_way_back_is_told():
    training = squares(128, range(4))
    search = CopySearch(training)
    made = np.roll(np.rot90(training[2][:, ::-1], 2), (8, -12), (0, 1))
    match = search.match(np.ascontiguousarray(made))
    assert match.nearest == 2
    assert match.transform == Transform(mirrored=True, quarter_turns=2)
    assert match.shift == (8, -12)
    assert str(match.transform) == "mirrored, turned 180°"


def test_an_exact_copy_has_distance_zero():
    training = squares(64, range(5))
    search = CopySearch(training)
    assert search.match(training[3]).distances[3] == pytest.approx(0, abs=2e-3)
    assert close(search, [training[3]])[0] == pytest.approx(0, abs=2e-3)


def test_a_transform_mirrors_then_turns():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(Transform(mirrored=True, quarter_turns=1).apply(image), np.rot90(image[:, ::-1]))
    assert len({*FLIPS, *SLIGHT}) == 8 + 2 * 24
    assert all(each.degrees == 0 and each.zoom == 1 for each in FLIPS)


@pytest.mark.parametrize(("degrees", "zoom"), [(8, 1.0), (-16, 1.0), (0, 1.16), (0, 0.85)])
def test_a_slight_transform_turns_counter_clockwise_and_enlarges_about_the_middle(degrees, zoom):
    image = squares(64, [1])[0]
    expected = Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR)
    if zoom != 1:
        side = 64 / zoom
        box = ((64 - side) / 2, (64 - side) / 2, (64 + side) / 2, (64 + side) / 2)
        expected = expected.transform((64, 64), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    found = Transform(degrees=degrees, zoom=zoom).apply(image)
    assert np.abs(found[8:-8, 8:-8].astype(float) - np.asarray(expected)[8:-8, 8:-8]).mean() < 1.5


def test_of_many_training_images_only_flips_and_shifts_are_searched(monkeypatch):
    monkeypatch.setattr("gan.fidelity.copies._MANY", 4)
    assert CopySearch(squares(16, range(5))).transforms == FLIPS
    assert len(CopySearch(squares(16, range(4))).transforms) > len(FLIPS)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_any_number_of_channels_are_searched(channels):
    grey = squares(32, range(4)).mean(axis=3, keepdims=True).astype(np.uint8)
    training = np.repeat(grey, channels, axis=3)
    assert CopySearch(training).match(training[1]).nearest == 1


# structure ------------------------------------------------------------------------------------------------------------


def test_structure_has_length_one_wherever_there_is_any():
    for image in squares(64, range(3)):
        assert np.linalg.norm(structure(image)) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(structure(np.full((64, 64, 3), 90, np.uint8))) < 1e-3


def test_structure_reaches_to_the_frame_where_there_is_no_border():
    lit = np.random.default_rng(0).integers(60, 256, (64, 64, 3), dtype=np.uint8)
    assert structure(lit)[0].any()
    assert structure(lit)[:, -1].any()
    rim = squares(64, [3])[0]
    assert not structure(rim)[0].any()


def test_structure_does_not_see_a_black_border():
    image = squares(64, [3])[0]
    outside = image.max(axis=2) < 20
    assert outside.any()
    painted = image.copy()
    painted[outside] = 8
    assert (structure(image) * structure(painted)).sum() > 0.99


def test_shrinking_takes_means_over_blocks():
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    small = shrink(image)
    assert small.shape == (64, 64, 3)
    assert small[5, 7, 1] == round(float(image[20:24, 28:32, 1].mean()))
    assert shrink(small) is not None
    assert np.array_equal(shrink(small), small)


# closeness and threshold ----------------------------------------------------------------------------------------------


def test_closeness_equals_the_loops():
    distances = np.random.default_rng(0).uniform(0.1, 1.4, (7, 12))
    assert closeness(distances) == pytest.approx([reference.closeness(row) for row in distances])
    assert closeness(distances[:, :3]) == pytest.approx([reference.closeness(row) for row in distances[:, :3]])


def test_what_comes_next_is_of_other_patients_than_the_nearest():
    distances, groups = np.random.default_rng(0).uniform(0.1, 1.4, (40, 9)), "abbcacdec"
    expected = [reference.closeness_of_patients(row, groups) for row in distances]
    assert closeness(distances, groups) == pytest.approx(expected)
    assert closeness(np.array([[0.3, 0.3, 1.0, 1.0]]), ["p", "p", "q", "r"]) == pytest.approx([0.3])


def test_fellow_eyes_are_left_out_among_training_images():
    distances, groups = np.random.default_rng(0).uniform(0.5, 1.4, (7, 7)), "abacbca"
    distances[0, 2] = distances[2, 0] = 0.01  # both eyes of patient a
    expected = []
    for i, row in enumerate(distances):
        others = [j for j in range(7) if groups[j] != groups[i]]
        expected.append(reference.closeness_of_patients([row[j] for j in others], [groups[j] for j in others]))
    assert among_themselves(distances, groups) == pytest.approx(expected)
    assert among_themselves(distances, groups).min() > 0.3
    assert among_themselves(distances).min() < 0.05


def test_among_themselves_leaves_each_out_of_its_own_comparison():
    distances = np.random.default_rng(0).uniform(0.5, 1.4, (6, 6))
    np.fill_diagonal(distances, 0)
    expected = [reference.closeness(np.delete(row, i)) for i, row in enumerate(distances)]
    assert among_themselves(distances) == pytest.approx(expected)


def test_the_threshold_is_three_robust_deviations_below_the_middle_within_bounds():
    own = np.array([0.70, 0.74, 0.76, 0.78, 0.80])
    assert copy_threshold(own) == pytest.approx(0.76 - 3 * 1.4826 * 0.02)
    assert copy_threshold(np.full(9, 0.97)) == 0.8
    assert copy_threshold(np.array([0.2, 0.5, 0.9])) == 0.5


def test_a_pair_of_twins_among_the_training_images_does_not_move_the_threshold():
    training = squares(64, range(7))
    twins = np.concatenate([training, noise(training[0], 5)[None]])
    search, own, threshold = gate(twins)
    assert (own < threshold).sum() == 2
    assert threshold == pytest.approx(0.8)
    assert close(search, [training[0][:, ::-1], training[5]]).max() < threshold
    assert close(search, squares(64, range(100, 110))).min() > threshold


def test_training_images_that_are_all_the_same_still_have_copies():
    training = np.repeat(squares(64, [0]), 5, axis=0)
    search, own, threshold = gate(training)
    assert own == pytest.approx([0] * 5, abs=1.0)
    assert threshold >= 0.5
    assert search.match(training[0]).distances.max() < 2e-3
