"""Metrics on request, against scikit-learn, scikit-image and monai."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from skimage.measure import label
from skimage.metrics import adapted_rand_error, variation_of_information
from skimage.segmentation import expand_labels
from sklearn import metrics as sk

from segkit.core.classes import Classes
from segkit.core.errors import RequestError
from segkit.metrics.measure import ALL, compare, image_values, measure, pooled_value
from segkit.metrics.metrics import FURTHER_METRICS, METRICS, reductions_for, with_default
from segkit.metrics.score import ARGMAX, ScoredImage, binary_probs, load_scores, save_scores, score_images
from tests.reference.metrics_pixels import retina

CLASSES = Classes(kind="multiclass", names=("background", "vessel", "disc"))
EVERYTHING = reductions_for(tuple(METRICS))


def binary_scores(predictions, truths, regions=None):
    regions = regions or [np.ones_like(truth) for truth in truths]
    images = zip(predictions, truths, regions, strict=True)
    return score_images(
        [ScoredImage(f"{n}", binary_probs(p), t, r) for n, (p, t, r) in enumerate(images)], [0.5], EVERYTHING
    )


def cells(seed, size=60, num=9, shift=0):
    """Cell interiors between borders 3 pixels wide: the nearest of some random centres, shifted a little."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, size, (num, 2)) + np.random.default_rng(seed + 1).normal(size=(num, 2)) * shift
    rows, columns = np.mgrid[:size, :size]
    distances = np.sort(np.hypot(rows[..., None] - centres[:, 0], columns[..., None] - centres[:, 1]), axis=-1)
    return distances[..., 1] - distances[..., 0] > 3


def joint_pixels(seed=0, num=3):
    rng = np.random.default_rng(seed)
    labels = [rng.integers(3, size=(16, 18)).astype(np.uint8) for _ in range(num)]
    probs = [rng.dirichlet(np.ones(3), size=(16, 18)).transpose(2, 0, 1) + 0.5 * np.eye(3)[y].transpose(2, 0, 1)
             for y in labels]  # fmt: skip
    images = [
        ScoredImage(f"{n}", np.round(p / 1.5 * 65535).astype(np.uint16), y, y >= 0, classes=CLASSES)
        for n, (p, y) in enumerate(zip(probs, labels, strict=True))
    ]
    predicted = [image.probs.argmax(axis=0) for image in images]
    return score_images(images), np.stack(labels).ravel(), np.stack(predicted).ravel(), images


def test_numbers_over_classes_equal_scikit_learn():
    scores, truth, predicted, images = joint_pixels()
    joint = np.histogram2d(predicted, truth, bins=3)[0] / truth.size
    v_rand = (joint**2).sum() / ((joint.sum(0) ** 2).sum() / 2 + (joint.sum(1) ** 2).sum() / 2)
    assert pooled_value(scores, "v_rand", ARGMAX) == pytest.approx(v_rand, rel=1e-12)
    error, _, _ = adapted_rand_error(truth + 1, predicted + 1)  # counts pairs of different pixels only
    assert pooled_value(scores, "v_rand", ARGMAX) == pytest.approx(1 - error, abs=2e-3)
    assert pooled_value(scores, "v_info", ARGMAX) == pytest.approx(sk.normalized_mutual_info_score(truth, predicted))
    assert pooled_value(scores, "mean_iou", ARGMAX) == pytest.approx(
        sk.jaccard_score(truth, predicted, average="macro")
    )
    true_probs = np.concatenate([np.take_along_axis(i.probs, i.labels[None].astype(int), 0).ravel() for i in images])
    assert pooled_value(scores, "log_loss", ARGMAX) == pytest.approx(-np.log(true_probs / 65535).mean(), rel=1e-9)


def test_numbers_over_classes_of_a_binary_task_are_of_the_class_and_the_rest():
    levels, vessels, fov = retina(3, num_images=2)
    scores = binary_scores(list(levels >= 30000), list(vessels), list(fov))
    truth, predicted = vessels[fov], (levels >= 30000)[fov]
    assert pooled_value(scores, "v_info", 0.5) == pytest.approx(sk.normalized_mutual_info_score(truth, predicted))
    expected = sk.jaccard_score(truth, predicted, average="macro")
    assert pooled_value(scores, "mean_iou", 0.5) == pytest.approx(expected)


def test_a_number_of_the_whole_map_has_no_value_of_one_class():
    scores, *_ = joint_pixels()
    assert {m.class_name for m in measure(scores, ARGMAX, ARGMAX, metrics=["v_rand"], num_resamples=5)} == {ALL}
    with pytest.raises(RequestError):
        image_values(scores, "v_rand", "fov", ARGMAX, "vessel")


def isbi_segments(truth, prediction):
    """Segments of the true foreground's pixels: true components, and predicted ones grown over the borders."""
    predicted = expand_labels(label(prediction, connectivity=1), distance=prediction.size)
    return label(truth, connectivity=1)[truth], predicted[truth]


def test_segment_scores_equal_scikit_image_on_the_true_foreground():
    truths, predictions = [cells(s) for s in (0, 2)], [cells(s, shift=2.0) for s in (0, 2)]
    scores = binary_scores(predictions, truths)
    pairs = [isbi_segments(t, p) for t, p in zip(truths, predictions, strict=True)]
    for index, (true_ids, predicted_ids) in enumerate(pairs):
        error, _, _ = adapted_rand_error(true_ids, predicted_ids, ignore_labels=())
        assert image_values(scores, "isbi_v_rand", "fov", 0.5)[index] == pytest.approx(1 - error, abs=2e-3)
        joint = np.unique(np.stack([true_ids, predicted_ids]), axis=1, return_counts=True)[1]
        s, t = (np.unique(ids, return_counts=True)[1] for ids in (true_ids, predicted_ids))
        exact = (joint**2).sum() / ((s**2).sum() / 2 + (t**2).sum() / 2)
        assert image_values(scores, "isbi_v_rand", "fov", 0.5)[index] == pytest.approx(exact, rel=1e-12)
    shifted = [(true_ids + 1000 * n, ids + 1000 * n) for n, (true_ids, ids) in enumerate(pairs)]
    true_ids, predicted_ids = (np.concatenate(ids) for ids in zip(*shifted, strict=True))
    expected = sk.normalized_mutual_info_score(true_ids, predicted_ids)  # segments of two images are never the same
    assert pooled_value(scores, "isbi_v_info", 0.5) == pytest.approx(expected, rel=1e-9)
    split, merge = variation_of_information(true_ids, predicted_ids)  # H(predicted | true), H(true | predicted)
    entropies = [-(n / n.sum() * np.log2(n / n.sum())).sum()
                 for n in (np.unique(ids, return_counts=True)[1] for ids in (true_ids, predicted_ids))]  # fmt: skip
    assert pooled_value(scores, "isbi_v_info", 0.5) == pytest.approx(1 - (split + merge) / sum(entropies), rel=1e-9)


def test_the_width_of_a_border_does_not_count_and_a_gap_in_it_does():
    truth = np.ones((40, 40), dtype=bool)
    truth[:, 19:22] = False
    wide = truth.copy()
    wide[:, 17:24] = False
    gap = wide.copy()
    gap[18:22] = True
    scores = binary_scores([truth, wide, gap], [truth] * 3)
    exact, wider, merged = image_values(scores, "isbi_v_rand", "fov", 0.5)
    assert exact == pytest.approx(1)
    assert wider == pytest.approx(1)
    assert merged == pytest.approx(2 / 3, abs=0.01)  # of two equal segments made one


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # monai's call of its own function
def test_surface_distances_equal_those_of_monai():
    levels, vessels, fov = retina(5, num_images=3)
    scores = binary_scores(list(levels >= 30000), list(vessels), list(fov))
    maps = [torch.from_numpy(array & fov)[:, None].float() for array in (levels >= 30000, vessels)]
    for metric, expected in (
        ("hd95", compute_hausdorff_distance(*maps, include_background=True, percentile=95)),
        ("assd", compute_average_surface_distance(*maps, include_background=True, symmetric=True)),
    ):
        np.testing.assert_allclose(image_values(scores, metric, "fov", 0.5), expected[:, 0].numpy(), rtol=1e-5)


def test_an_empty_map_has_no_surface_and_drops_out_of_the_mean():
    truth = cells(7)
    scores = binary_scores([truth, np.zeros_like(truth), cells(7, shift=1.0)], [truth] * 3)
    for metric in ("hd95", "assd"):
        values = image_values(scores, metric, "fov", 0.5)
        assert values[0] == 0
        assert math.isnan(values[1])
        [mean] = [m for m in measure(scores, 0.5, "fixed-0.5", metrics=[metric], regions=["fov"], num_resamples=5)
                  if m.averaging == "per-image"]  # fmt: skip
        assert (mean.n, mean.value) == (2, pytest.approx(values[2] / 2))


def test_hausdorff_has_no_pooled_value_and_all_others_have():
    scores = binary_scores([cells(s, shift=1.0) for s in (8, 9, 10)], [cells(s) for s in (8, 9, 10)])
    measured = measure(scores, 0.5, "fixed-0.5", metrics=FURTHER_METRICS, regions=["fov"], num_resamples=20)
    assert {m.metric for m in measured if m.averaging == "pooled"} == set(FURTHER_METRICS) - {"hd95"}
    assert {m.metric for m in measured if m.averaging == "per-image"} == set(FURTHER_METRICS)
    assert all(m.low <= m.high for m in measured)


@pytest.mark.parametrize("metric", FURTHER_METRICS)
def test_paired_comparisons_and_saved_scores_carry_every_further_metric(metric, tmp_path):
    truths = [cells(s) for s in (11, 12, 13)]
    better, worse = (binary_scores([cells(s, shift=d) for s in (11, 12, 13)], truths) for d in (0.3, 3.0))
    save_scores(worse, tmp_path / "scores.npz")
    worse = load_scores(tmp_path / "scores.npz")
    paired = compare(better, worse, 0.5, 0.5, metric, averaging="per-image", num_resamples=20)
    assert math.copysign(1, paired.difference) == (-1 if metric in ("hd95", "assd") else 1)


def test_slow_metrics_are_not_reduced_unless_asked_for():
    image = ScoredImage("1", binary_probs(cells(14)), cells(14), np.ones((60, 60), dtype=bool))
    default, asked = score_images([image])[0], score_images([image], [0.5], reductions_for(with_default(["hd95"])))[0]
    assert not default.has("surfaces", 0.5)
    assert not default.has("segments", 0.5)
    assert asked.has("surfaces", 0.5)
    with pytest.raises(RequestError):
        with_default(["hausdorf"])
