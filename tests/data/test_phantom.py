import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from segkit.core import images
from segkit.data import drive, phantom, readers, vessel_tree


@pytest.fixture(scope="module")
def samples() -> list[phantom.PhantomSample]:
    return [phantom.draw(seed) for seed in range(3)]


def test_a_seed_draws_the_same_fundus_in_any_process() -> None:
    code = "import sys, hashlib; from segkit.data import phantom; p = phantom.draw(7, 96, 80)\n"
    code += "sys.stdout.write(hashlib.sha256(b''.join(a.tobytes() for a in p)).hexdigest())"
    run = [sys.executable, "-c", code]
    hashes = {
        subprocess.run(run, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": s}).stdout
        for s in ("1", "2")
    }
    assert len(hashes) == 1
    assert not np.array_equal(phantom.draw(7, 96, 80).vessels, phantom.draw(8, 96, 80).vessels)


def test_a_phantom_covers_as_much_vessel_as_drive_does(samples: list[phantom.PhantomSample]) -> None:
    for sample in samples:
        assert sample.image.shape == (584, 565, 3)
        assert 0.08 <= sample.vessels[sample.fov].mean() <= 0.15
        assert 0.66 <= sample.fov.mean() <= 0.70
        assert not sample.vessels[~sample.fov].any()


def test_widths_run_from_a_pixel_to_eight(samples: list[phantom.PhantomSample]) -> None:
    # the widest square that fits, by erosion: trunks of 5 pixels and more exist, most length is thinner
    for sample in samples:
        depth = ndimage.distance_transform_cdt(np.pad(sample.vessels, 1), "chessboard")
        assert 3 <= depth.max() <= 8  # wider only where trunks meet in the disc
        thin = sample.vessels & ~ndimage.binary_opening(sample.vessels, np.ones((3, 3)))
        assert 0.15 < thin.sum() / sample.vessels.sum() < 0.7


def test_vessels_hang_together(samples: list[phantom.PhantomSample]) -> None:
    for sample in samples:
        labels, _ = ndimage.label(sample.vessels, np.ones((3, 3)))
        largest = np.bincount(labels.ravel())[1:].max()
        assert largest > 0.97 * sample.vessels.sum()


def test_the_picture_shows_what_the_map_says(samples: list[phantom.PhantomSample]) -> None:
    for image, vessels, fov, _ in samples:
        green = image[..., 1].astype(float)
        darkness = ndimage.uniform_filter(green, 25) - green
        inner = ndimage.binary_erosion(fov, iterations=12)
        on, off = darkness[inner & vessels], darkness[inner & ~ndimage.binary_dilation(vessels, iterations=2)]
        # the chance that a vessel pixel is darker than a background pixel, from a sample of pairs
        rng = np.random.default_rng(0)
        assert (rng.choice(on, 20_000) > rng.choice(off, 20_000)).mean() > 0.95


def test_colours_are_those_of_a_fundus(samples: list[phantom.PhantomSample]) -> None:
    for image, _, fov, _ in samples:
        red, green, blue = image[fov].mean(axis=0)
        assert 110 < red < 250
        assert 50 < green < 130
        assert 30 < blue < 90
        assert image[~fov].max() < 60
        assert image[~fov].mean() < 12


@pytest.mark.parametrize(("height", "width"), [(16, 16), (64, 64), (65, 130), (128, 96)])
def test_any_size_can_be_drawn(height: int, width: int) -> None:
    sample = phantom.draw(3, height, width)
    assert sample.image.shape == (height, width, 3)
    assert sample.vessels.shape == sample.fov.shape == (height, width)
    assert sample.vessels.any()
    assert sample.vessels[sample.fov].mean() < 0.3
    with pytest.raises(ValueError, match="at least 16"):
        phantom.draw(0, 15, 40)


def test_a_capsule_covers_its_area() -> None:
    view = phantom._View(height=40, width=60, radius=200.0, centre=np.array([30.0, 20.0]))
    tree = vessel_tree.VesselTree(np.array([[-0.1, 0.0], [0.1, 0.02]]), np.array([-1, 0]))
    layer = phantom._layer(tree, view, share=1.0)  # as wide as allowed
    wide = 8.5 * 200 / 270
    area = 200 * np.hypot(0.2, 0.02) * wide + np.pi * wide**2 / 4
    assert phantom._vessels({"vein": layer}, view).sum() == pytest.approx(area, rel=0.06)


def test_radii_follow_murrays_law_and_never_grow_outwards() -> None:
    rng = np.random.default_rng(0)
    trunk = vessel_tree.resample(np.array([[0.8, 0.0], [0.3, 0.5], [-0.6, 0.4]]))
    tree = vessel_tree.grow(rng, [trunk], (0.3, 0.15), trials=40, avascular=(np.zeros(2), 0.1))
    radii = vessel_tree.radii(tree)
    forks = 0
    for node in range(len(radii)):
        children = np.flatnonzero(tree.parents == node)
        forks += len(children) > 1
        expected = sum(radii[child] ** 3 for child in children) + 0.05 if len(children) else 0.10
        assert radii[node] ** 3 == pytest.approx(expected)
    assert forks > 10
    assert (tree.parents[1:] < np.arange(1, len(radii))).all()


def test_widths_cover_the_area_asked_for() -> None:
    rng = np.random.default_rng(1)
    trunk = vessel_tree.resample(np.array([[0.8, 0.0], [-0.6, 0.4]]))
    tree = vessel_tree.grow(rng, [trunk], (0.3, 0.15), trials=40, avascular=(np.zeros(2), 0.1))
    widths = vessel_tree.widths(tree, area=0.2, thinnest=0.001, thickest=1.0)
    area = sum(
        np.linalg.norm(tree.points[node] - tree.points[parent]) * (widths[node] + widths[parent]) / 2
        for node, parent in enumerate(tree.parents)
        if parent >= 0
    )
    assert area == pytest.approx(0.2, rel=1e-3)


def test_branches_stay_out_of_the_avascular_disc() -> None:
    trunk = vessel_tree.resample(np.array([[0.8, 0.0], [0.0, 0.6], [-0.8, 0.3]]))
    tree = vessel_tree.grow(np.random.default_rng(2), [trunk], (0.2, 0.1), 80, avascular=(np.zeros(2), 0.15))
    assert np.hypot(*tree.points.T).min() >= 0.15


def test_a_phantom_data_set_is_read_as_drive_and_checked(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    phantom.write_dataset(tmp_path, 2, 1, 48, 40, seed=4, progress=lambda done, total: seen.append((done, total)))
    dataset = readers.open_dataset(f"drive:{tmp_path}")
    assert dataset.phantom
    assert [row.name for row in dataset.rows] == ["01_test", "21_training", "22_training"]
    assert all(row.reference is not None for row in dataset.rows)
    assert {(report.height, report.width) for report in readers.check(dataset).reports} == {(48, 40)}
    assert seen == [(1, 3), (2, 3), (3, 3)]
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {
        "phantom.json",
        "test/images/01_test.tif",
        "test/mask/01_test_mask.gif",
        "test/1st_manual/01_manual1.gif",
        *(f"training/images/{n}_training.tif" for n in (21, 22)),
        *(f"training/mask/{n}_training_mask.gif" for n in (21, 22)),
        *(f"training/1st_manual/{n}_manual1.gif" for n in (21, 22)),
    }


def test_the_same_data_set_has_the_same_digest_and_another_seed_another(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        phantom.write_dataset(tmp_path / name, 1, 1, 32, 32, seed=seed, test_labels=False)
        digests.append(drive.read(tmp_path / name).digest)
        assert drive.read(tmp_path / name).rows[0].reference is None
    assert digests[0] == digests[1] != digests[2]


def test_the_files_hold_the_sample_bit_for_bit(tmp_path: Path) -> None:
    phantom.write_dataset(tmp_path, 1, 0, 32, 40, seed=0)
    sample = phantom.draw(21, 32, 40)
    row = drive.read(tmp_path).rows[0]
    assert row.reference is not None
    np.testing.assert_array_equal(images.read_image(*row.image), sample.image)
    np.testing.assert_array_equal(images.read_mask(*row.reference), sample.vessels)


def test_a_real_data_set_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    with pytest.raises(FileExistsError, match="not a phantom"):
        phantom.write_dataset(tmp_path, 1, 1, 32, 32)


def test_a_multiclass_phantom_shows_vessels_the_disc_and_the_rest(samples: list[phantom.PhantomSample]) -> None:
    assert phantom.CLASSES.names == ("background", "vessel", "disc")
    for sample in samples:
        np.testing.assert_array_equal(sample.labels == 1, sample.vessels)
        np.testing.assert_array_equal(sample.labels == 2, sample.disc & ~sample.vessels)
        assert set(np.unique(sample.labels)) == {0, 1, 2}
        assert not sample.labels[~sample.fov].any()
        # the disc is the brightest part of the photograph, and an eighth to a sixth of its radius
        brightness = sample.image.mean(axis=2)
        assert brightness[sample.labels == 2].mean() > 1.3 * brightness[sample.fov & (sample.labels == 0)].mean()
        assert 0.005 < sample.disc[sample.fov].mean() < 0.04


def test_a_multiclass_data_set_is_read_as_a_folder_and_checked(tmp_path: Path) -> None:
    phantom.write_multiclass_dataset(tmp_path, 2, 1, 48, 40, seed=4)
    dataset = readers.open_dataset(f"folder:{tmp_path}")
    assert dataset.classes == phantom.CLASSES
    assert [(row.name, row.split) for row in dataset.rows] == [("01", "test"), ("21", "train"), ("22", "train")]
    reports = readers.check(dataset).reports
    for row, report in zip(dataset.rows, reports, strict=True):
        sample = phantom.draw(4 * 100_003 + int(row.name), 48, 40)
        np.testing.assert_array_equal(images.read_image(*row.image), sample.image)
        assert row.reference is not None
        np.testing.assert_array_equal(images.read_indices(*row.reference), sample.labels)
        assert row.region is not None
        np.testing.assert_array_equal(images.read_mask(*row.region), sample.fov)
        shares = [(sample.labels[sample.fov] == index).mean() for index in range(3)]
        assert list(report.class_shares.values()) == pytest.approx(shares)
        assert list(report.class_shares) == ["background", "vessel", "disc"]


def test_binary_and_multiclass_phantoms_of_a_seed_are_the_same_photographs(tmp_path: Path) -> None:
    phantom.write_dataset(tmp_path / "binary", 2, 1, 32, 40, seed=2)
    phantom.write_multiclass_dataset(tmp_path / "several", 2, 1, 32, 40, seed=2)
    binary, several = (
        readers.open_dataset(text).rows for text in (f"drive:{tmp_path / 'binary'}", f"folder:{tmp_path / 'several'}")
    )
    for a, b in zip(binary, several, strict=True):
        np.testing.assert_array_equal(images.read_image(*a.image), images.read_image(*b.image))


def test_multiclass_phantoms_are_not_written_over_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    with pytest.raises(FileExistsError, match="already holds"):
        phantom.write_multiclass_dataset(tmp_path, 1, 1, 32, 32)
