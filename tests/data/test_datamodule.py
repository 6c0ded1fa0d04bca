import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from segkit.core import images
from segkit.core.errors import ConfigError, DatasetError
from segkit.core.manifest import Manifest, Row, Source
from segkit.data.datamodule import SegmentationDataModule, rank_share, read_labelled_image
from segkit.data.sampling import Draw
from segkit.data.settings import GeometrySettings, TrainingDataSettings

HEIGHT, WIDTH, STRIDE = 26, 21, 8
PADDED = (32, 24)
PAD = GeometrySettings()
NOTHING = Manifest(())


def inside(padded):
    """The part of a padded array (..., 32, 24) that is image: 3 rows above, 1 column left."""
    return padded[..., 3 : 3 + HEIGHT, 1 : 1 + WIDTH]


def make_row(folder, number, split="train", origin="real", size=(HEIGHT, WIDTH), **fields):
    """A row with its files: random image, random map, a field of view that leaves out two rows."""
    rng = np.random.default_rng(number)
    name = f"{origin}-{number}"
    paths = {kind: folder / f"{name}-{kind}.png" for kind in ("image", "labels", "region")}
    images.write_image(paths["image"], rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    probs = rng.random(size, dtype=np.float32)
    if origin == "real":
        images.write_mask(paths["labels"], probs > 0.8)
    else:
        images.write_probs(paths["labels"], probs)
    region = np.ones(size, bool)
    region[:2] = False
    images.write_mask(paths["region"], region)
    role = "reference" if origin == "real" else "pseudo"
    image, labels, region_source = (Source(path) for path in paths.values())
    return Row(name, split, image, {role: labels}, region_source, origin, **fields)


@pytest.fixture
def real(tmp_path):
    splits = ["train"] * 5 + ["val"] * 3 + ["holdout", "test"]
    return Manifest(tuple(make_row(tmp_path, number, split) for number, split in enumerate(splits)))


@pytest.fixture
def synthetic(tmp_path):
    return Manifest(tuple(make_row(tmp_path, number, origin="synthetic", threshold=0.4) for number in range(4)))


def module(real, synthetic=NOTHING, replaced=False, geometry=PAD, num_workers=0, seed=0, **feed):
    settings = TrainingDataSettings(**({"batch_size": 2, "augmentation": "none"} | feed))
    made = SegmentationDataModule(real, synthetic, settings, geometry, STRIDE, seed, replaced, num_workers)
    made.setup("fit")
    return made


def epoch(made, number=0):
    loader = made.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


def test_a_batch_holds_what_the_contract_says(real):
    for batch in epoch(module(real)):
        assert batch["image"].shape == (2, 3, *PADDED)
        assert batch["image"].dtype == batch["target"].dtype == batch["pixel_weight"].dtype == torch.float32
        assert {tuple(batch[key].shape) for key in ("target", "region", "pixel_weight")} == {(2, 1, *PADDED)}
        assert batch["region"].dtype == torch.bool
        assert batch["weight"].tolist() == [1, 1]


def test_batches_hold_the_files_pixels(real):
    batches = epoch(module(real))
    seen = {}
    for picture, target in zip(
        torch.cat([batch["image"] for batch in batches]),
        torch.cat([batch["target"] for batch in batches]),
        strict=True,
    ):
        seen[inside(picture.numpy()).tobytes()] = inside(target.numpy())
    assert len(seen) == 5
    for row in real.split("train").rows:
        expected = images.read_image(*row.image).astype(np.float32).transpose(2, 0, 1) / np.float32(255)
        np.testing.assert_array_equal(seen[expected.tobytes()][0], images.read_mask(*row.reference))


def test_padding_is_neither_region_nor_positive_nor_counted(real):
    for batch in epoch(module(real)):
        border = np.ones(PADDED, bool)
        inside(border)[...] = False
        for key in ("target", "region", "pixel_weight"):
            assert (batch[key][..., torch.from_numpy(border)] == 0).all()
        assert not inside(batch["region"])[..., :2, :].any()
        assert inside(batch["region"])[..., 2:, :].all()
        assert torch.equal(batch["pixel_weight"], batch["region"].float())


def test_only_labelled_images_of_their_split_are_drawn(real, tmp_path):
    bare = Row("bare", "train", make_row(tmp_path, 90).image)
    made = module(Manifest((*real.rows, bare)))
    assert [row.name for row in made.train_rows] == [f"real-{number}" for number in range(5)]
    assert [row.name for row in made.val_rows] == ["real-5", "real-6", "real-7"]


def test_each_file_is_decoded_once(real, synthetic, monkeypatch):
    reads = Counter()

    def counting(read):
        return lambda path, frame=0: (reads.update([Source(path, frame)]), read(path, frame))[1]

    for name in ("read_image", "read_mask", "read_levels"):
        monkeypatch.setattr(images, name, counting(getattr(images, name)))
    made = module(real, synthetic, data="mixed")
    for number in range(3):
        epoch(made, number)
        list(made.val_dataloader())
    made.setup("validate")
    rows = [*real.split("train", "val").rows, *synthetic.rows]
    assert reads == Counter(source for row in rows for source in (row.image, row.target, row.region))


def test_pseudo_labels_are_soft_hard_or_weighted_by_confidence(synthetic):
    row = synthetic.rows[0]
    probs = images.read_probs(row.target.path)
    soft, hard, confidence = (
        read_labelled_image(row, PAD, STRIDE, TrainingDataSettings(pseudo_labels=kind))
        for kind in ("soft", "hard", "confidence")
    )
    np.testing.assert_array_equal(inside(soft.target[0]), probs)
    assert soft.confidence is None
    np.testing.assert_array_equal(inside(hard.target[0]), probs >= 0.4)
    assert hard.confidence is None
    np.testing.assert_array_equal(inside(confidence.target[0]), probs >= 0.4)
    np.testing.assert_allclose(inside(confidence.confidence), np.abs(2 * probs - 1), atol=1e-6)


def test_manual_labels_are_hard_and_count_in_full_whatever_pseudo_labels_do(real):
    row = real.rows[0]
    for kind in ("soft", "hard", "confidence"):
        picture = read_labelled_image(row, PAD, STRIDE, TrainingDataSettings(pseudo_labels=kind))
        np.testing.assert_array_equal(inside(picture.target[0]), images.read_mask(*row.reference))
        assert picture.confidence is None


def test_manual_labels_stay_hard_when_images_are_resized(real, synthetic):
    geometry = GeometrySettings(mode="resize", size=16)
    manual = read_labelled_image(real.rows[0], geometry, STRIDE, TrainingDataSettings())
    assert set(np.unique(manual.target)) == {0, 1}
    soft = read_labelled_image(synthetic.rows[0], geometry, STRIDE, TrainingDataSettings())
    assert len(np.unique(soft.target)) > 100


def test_confidence_weighs_pixels_inside_the_fov(real, synthetic):
    made = module(real, synthetic, data="synthetic", pseudo_labels="confidence")
    for batch in epoch(made):
        weight = batch["pixel_weight"]
        assert (weight[~batch["region"]] == 0).all()
        assert 0.4 < weight[batch["region"]].mean() < 0.6  # |2p - 1| of an even p


def test_weights_of_rows_and_of_synthetic_images_multiply(tmp_path, real):
    rows = [make_row(tmp_path, number, origin="synthetic", weight=weight) for number, weight in ((20, 0.5), (21, 2.0))]
    made = module(real, Manifest(tuple(rows)), data="synthetic", synthetic_weight=0.3)
    (batch,) = epoch(made)
    assert sorted(batch["weight"].tolist()) == pytest.approx([0.15, 0.6])
    made = module(Manifest((make_row(tmp_path, 22, weight=0.7), *real.rows[1:])), synthetic_weight=0.3)
    weights = torch.cat([batch["weight"] for batch in epoch(made)]).tolist()
    assert sorted(set(weights)) == pytest.approx([0.7, 1.0])


def test_a_map_of_another_size_than_its_image_is_named(tmp_path, real):
    images.write_mask(real.rows[0].reference.path, np.zeros((10, 12), bool))
    with pytest.raises(DatasetError, match=r"real-0-labels\.png is 10x12 .*26x21"):
        module(real)


def test_images_of_two_sizes_need_crops_or_one_size(tmp_path, real):
    mixed = Manifest((*real.rows, make_row(tmp_path, 30, size=(40, 40))))
    with pytest.raises(ConfigError, match="32x24, 40x40"):
        module(mixed)
    assert {batch["image"].shape for batch in epoch(module(mixed, crop_size=16))} == {(2, 3, 16, 16)}
    resized = module(mixed, geometry=GeometrySettings(mode="resize", size=32))
    assert {batch["image"].shape for batch in epoch(resized)} == {(2, 3, 32, 32)}
    assert len(epoch(module(mixed, batch_size=1))) == 6


def test_a_crop_that_does_not_fit_the_network_is_refused(real):
    with pytest.raises(ConfigError, match=r"crop_size 20 .*stride 8"):
        module(real, crop_size=20)


def test_without_a_mask_the_fov_is_estimated(tmp_path):
    row = make_row(tmp_path, 40)
    lit = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    lit[:8] = 0
    images.write_image(row.image.path, lit)
    fov = inside(
        read_labelled_image(Row("x", "train", row.image, row.labels), PAD, STRIDE, TrainingDataSettings()).region
    )
    assert not fov[:6].any()
    assert fov[10:-4, 4:-4].all()


@pytest.mark.parametrize("augmentation", ["flips", "strong"])
def test_epochs_differ_by_their_augmentation_and_repeat_exactly(real, augmentation):
    made, again = (module(real, augmentation=augmentation, seed=4, batch_size=5) for _ in range(2))
    firsts = [torch.cat([batch["image"] for batch in epoch(made, number)]) for number in range(2)]
    assert torch.equal(firsts[1], torch.cat([batch["image"] for batch in epoch(again, 1)]))
    assert not torch.equal(*(images.sort(0).values for images in firsts))


@pytest.mark.parametrize(
    ("augmented", "presets"), [("real", ("symmetries", "none")), ("synthetic", ("none", "symmetries"))]
)
def test_real_and_synthetic_images_of_a_mixed_epoch_are_augmented_apart(real, synthetic, augmented, presets):
    feed = {"data": "mixed", "crop_size": 16, "augmentation": presets[0], "synthetic_augmentation": presets[1]}
    made = module(real, synthetic, **feed)
    originals = [image.image for image in made.train_images]
    unchanged = {"real": 0, "synthetic": 0}
    dataset = made.train_dataloader().dataset
    for index, original in enumerate(originals):
        origin = "real" if index < 5 else "synthetic"
        for seed in range(8):
            crop = dataset[[Draw(index, seed)]]
            pixels = (255 * crop["image"][0].permute(1, 2, 0)).round().numpy().astype(np.uint8)
            windows = np.lib.stride_tricks.sliding_window_view(original, pixels.shape)
            unchanged[origin] += bool((windows == pixels).all(axis=(-3, -2, -1)).any())
    other = "real" if augmented == "synthetic" else "synthetic"
    assert unchanged[other] == 8 * {"real": 5, "synthetic": 4}[other]
    assert unchanged[augmented] < 8 * {"real": 5, "synthetic": 4}[augmented] / 2


def test_an_unset_augmentation_of_synthetic_images_leaves_no_trace_in_a_fingerprint():
    assert "synthetic_augmentation" not in TrainingDataSettings().model_dump(mode="json")
    given = TrainingDataSettings(data="synthetic", synthetic_augmentation="paper")
    assert given.augmentations == ("paper", "paper")  # a control's real images replace synthetic ones
    assert TrainingDataSettings(data="mixed", synthetic_augmentation="paper").augmentations == ("flips", "paper")


def test_loader_processes_change_nothing(real, synthetic):
    settings = {"data": "mixed", "augmentation": "paper", "pseudo_labels": "confidence", "batch_size": 3}
    alone, helped = (module(real, synthetic, num_workers=workers, **settings) for workers in (0, 2))
    for number in range(2):
        batches, same = epoch(alone, number), epoch(helped, number)
        assert len(batches) == len(same) == 3
        for batch, other in zip(batches, same, strict=True):
            assert batch.keys() == other.keys()
            assert all(torch.equal(batch[key], other[key]) for key in batch)


def test_validation_images_come_one_by_one_in_order_and_as_they_are(real):
    batches = list(module(real, augmentation="strong").val_dataloader())
    assert [len(batch["image"]) for batch in batches] == [1, 1, 1]
    for batch, row in zip(batches, real.split("val").rows, strict=True):
        picture = inside(batch["image"][0].numpy())
        np.testing.assert_allclose(picture.transpose(1, 2, 0) * 255, images.read_image(*row.image), atol=1e-4)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_ranks_validate_each_image_once_and_none_is_without_a_batch(real, world_size):
    pictures = module(real).val_images
    shares = [rank_share(pictures, rank, world_size) for rank in range(world_size)]
    assert all(shares)
    counted = [picture.image.tobytes() for share in shares for picture in share if picture.region.any()]
    assert sorted(counted) == sorted(picture.image.tobytes() for picture in pictures)


def test_a_control_sees_real_images_only_for_as_many_steps(real, synthetic):
    student = module(real, synthetic, data="mixed", num_synthetic=4)
    control = module(real, replaced=True, data="mixed", num_synthetic=4)
    assert len(epoch(control)) == len(epoch(student)) == 5
    assert len(control.train_images) == 5
    only_real = {picture.image.tobytes() for picture in control.train_images}
    drawn = {
        (np.rint(image.permute(1, 2, 0).numpy() * 255)).astype(np.uint8).tobytes()
        for batch in epoch(control)
        for image in batch["image"]
    }
    assert drawn == only_real


def test_a_datamodule_can_be_sent_to_another_process(real):
    made = module(real)
    copy = pickle.loads(pickle.dumps(made.train_dataloader().dataset))
    sampler = made.train_dataloader().sampler
    draws = next(iter(sampler))
    assert torch.equal(copy[draws]["image"], made.train_dataloader().dataset[draws]["image"])
