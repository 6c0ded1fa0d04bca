import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from segkit.core.classes import Classes
from segkit.metrics.epoch import SegmentationMetrics
from segkit.metrics.measure import ALL, compare, find_measurement, measure
from segkit.metrics.metrics import DEFAULT_METRICS
from segkit.metrics.score import ARGMAX, ScoredImage, load_scores, save_scores, score_images

CLASSES = Classes(kind="multiclass", names=("background", "vessel", "disc"), ignored=255)


def images(seed=0, num=4, size=(20, 24)):
    """Images whose probabilities are right more often than not; some pixels are ignored, some lie outside."""
    rng = np.random.default_rng(seed)
    result = []
    for number in range(num):
        labels = rng.integers(3, size=size).astype(np.uint8)
        logits = rng.normal(size=(3, *size)) + 1.5 * (labels == np.arange(3)[:, None, None])
        probs = np.exp(logits) / np.exp(logits).sum(axis=0)
        labels[rng.random(size) < 0.1] = 255
        region = rng.random(size) < 0.8
        levels = np.round(probs * 65535).astype(np.uint16)
        result.append(ScoredImage(f"{number:02d}", levels, labels, region, classes=CLASSES))
    return result


def valid_pixels(image):
    """Labels, predicted classes and probabilities (k, p) of the pixels that count."""
    counted = image.region & (image.labels != 255)
    return image.labels[counted], image.probs.argmax(axis=0)[counted], image.probs[:, counted] / 65535


@pytest.fixture(scope="module")
def measured():
    return measure(score_images(images()), ARGMAX, "argmax", num_resamples=50)


def test_every_class_and_all_together_are_measured_with_every_metric(measured):
    keys = {(m.class_name, m.metric, m.region, m.averaging) for m in measured}
    assert len(keys) == len(measured) == ((1 + 3) * len(DEFAULT_METRICS) - 3) * 2 * 2  # mean IoU is of all classes
    assert {m.threshold for m in measured} == {None}
    assert {m.threshold_source for m in measured} == {"argmax", "none"}


def test_pooled_numbers_per_class_equal_scikit_learn(measured):
    truth, prediction, probs = (
        np.concatenate(parts, axis=-1) for parts in zip(*map(valid_pixels, images()), strict=True)
    )
    for index, name in enumerate(CLASSES.names):
        binary = truth == index, prediction == index
        expected = {
            "dice": sk.f1_score(*binary),
            "iou": sk.jaccard_score(*binary),
            "precision": sk.precision_score(*binary),
            "sensitivity": sk.recall_score(*binary),
            "mcc": sk.matthews_corrcoef(*binary),
            "auroc": sk.roc_auc_score(truth == index, probs[index]),
            "auprc": sk.average_precision_score(truth == index, probs[index]),
        }
        for metric, value in expected.items():
            assert find_measurement(measured, metric, class_name=name).value == pytest.approx(value, rel=1e-9), (
                name,
                metric,
            )
    assert find_measurement(measured, "dice").value == pytest.approx(
        sk.f1_score(truth, prediction, average="macro"), rel=1e-12
    )
    assert find_measurement(measured, "iou").value == pytest.approx(
        sk.jaccard_score(truth, prediction, average="macro"), rel=1e-12
    )
    assert find_measurement(measured, "accuracy").value == pytest.approx(
        sk.accuracy_score(truth, prediction), rel=1e-12
    )
    assert find_measurement(measured, "dice").class_name == ALL


def test_an_epoch_scores_like_the_files_written_from_it(measured):
    metrics = SegmentationMetrics(CLASSES)
    for image in images():
        probs = torch.from_numpy(image.probs.astype(np.float64) / 65535).float()[None]
        known = np.where(image.labels == 255, 0, image.labels)
        target = torch.from_numpy(CLASSES.target(known) * CLASSES.valid_pixels(image.labels))[None]
        metrics.update(probs, target, torch.from_numpy(image.region)[None, None])
    epoch = metrics.compute()
    for m in measured:
        if (m.region, m.averaging) == ("fov", "pooled") and m.metric != "cldice":
            key = m.metric if m.class_name == ALL else f"{m.metric}/{m.class_name}"
            assert float(epoch[key]) == pytest.approx(m.value, rel=1e-6), key


def test_a_class_that_occurs_nowhere_leaves_the_mean():
    without_disc = [
        ScoredImage(i.name, i.probs, np.where(i.labels == 2, 255, i.labels).astype(np.uint8), i.region, classes=CLASSES)
        for i in images()
    ]
    numbers = measure(score_images(without_disc), ARGMAX, "argmax", num_resamples=10)
    sensitivities = [find_measurement(numbers, "sensitivity", class_name=name).value for name in CLASSES.names]
    assert np.isnan(sensitivities[2])
    assert find_measurement(numbers, "sensitivity").value == pytest.approx(np.mean(sensitivities[:2]))


def test_stored_scores_measure_the_same(measured, tmp_path):
    save_scores(score_images(images()), tmp_path / "scores.npz")
    again = measure(load_scores(tmp_path / "scores.npz"), ARGMAX, "argmax", num_resamples=50)
    assert again == measured


def test_two_runs_are_compared_over_all_classes_or_in_one():
    a, b = score_images(images()), score_images(images())
    assert compare(a, b, ARGMAX, ARGMAX, "dice", num_resamples=20).class_name == ALL
    in_one = compare(a, b, ARGMAX, ARGMAX, "dice", class_name="disc", num_resamples=20)
    assert (in_one.class_name, in_one.difference, in_one.threshold_a) == ("disc", 0, None)
