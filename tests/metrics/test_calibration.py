"""Temperature scaling against logits in numpy."""

import numpy as np
import pytest

from segkit.metrics.calibration import Pixels, calibration, fit_temperature, log_loss, tempered, tempered_threshold
from segkit.metrics.curves import count_levels, quantise


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def drawn(num_classes: int, too_sure: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (k, h, w), larger by a factor than those that the labels (h, w) are drawn from."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (num_classes, 120, 100))
    if num_classes == 1:
        return too_sure * logits, rng.random((120, 100)) < 1 / (1 + np.exp(-logits[0]))
    labels = (rng.random((120, 100)) > np.cumsum(softmax(logits), axis=0)).sum(axis=0).clip(max=num_classes - 1)
    return too_sure * logits, labels


def pixels(num_classes: int, too_sure: float, seed: int = 0) -> Pixels:
    logits, labels = drawn(num_classes, too_sure, seed)
    region = np.ones((120, 100), bool)
    if num_classes == 1:
        return Pixels.of_levels(count_levels(quantise(1 / (1 + np.exp(-logits[0]))), labels, region))
    return Pixels.of_map(quantise(softmax(logits)), labels, region)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_tempered_probabilities_are_those_of_divided_logits(temperature: float) -> None:
    logits, _ = drawn(3, 1.0)
    np.testing.assert_allclose(tempered(softmax(logits), temperature), softmax(logits / temperature))
    binary = 1 / (1 + np.exp(-logits[:1]))
    np.testing.assert_allclose(tempered(binary, temperature), 1 / (1 + np.exp(-logits[:1] / temperature)))
    assert tempered(binary.astype(np.float32), temperature).dtype == np.float32
    ends = np.array([[0.0, 1.0]])
    np.testing.assert_array_equal(tempered(ends, temperature), ends)
    assert tempered_threshold(tempered_threshold(0.3, temperature), 1 / temperature) == pytest.approx(0.3)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_the_fitted_temperature_is_how_much_too_sure_the_logits_are(num_classes: int) -> None:
    found = pixels(num_classes, 2.0)
    temperature = fit_temperature(found)
    assert temperature == pytest.approx(2.0, rel=0.06)
    losses = [log_loss(found, temperature * factor) for factor in (0.98, 1.0, 1.02)]
    assert min(losses) == losses[1]


def test_log_loss_is_the_mean_over_pixels() -> None:
    logits, labels = drawn(3, 1.0)
    of_truth = np.take_along_axis(softmax(logits / 1.5), labels[None], axis=0)
    assert log_loss(pixels(3, 1.0), 1.5) == pytest.approx(-np.log(of_truth).mean(), abs=1e-4)


@pytest.mark.parametrize(("num_classes", "names"), [(1, ["vessel"]), (3, ["a", "b", "c"])])
def test_calibration_improves_with_the_temperature_of_other_folds(num_classes: int, names: list[str]) -> None:
    folds = [pixels(num_classes, 2.0, seed) for seed in range(3)]
    result = calibration(folds, names)
    assert result["fold_temperatures"][0] == fit_temperature(Pixels.pool(folds[1:]))
    assert result["after"]["log_loss"] < result["before"]["log_loss"]
    assert result["after"]["ece"] < result["before"]["ece"] / 2
    for part in (result["before"], result["after"]):
        assert list(part["reliability"]) == names
        for bins in part["reliability"].values():
            assert sum(bins["num_pixels"]) == 3 * 120 * 100
    bins = result["before"]["reliability"][names[0]]
    if num_classes == 1:
        gaps = np.abs(np.subtract(bins["mean_prob"], bins["positive_share"]))
        assert result["before"]["ece"] == pytest.approx(np.average(gaps, weights=bins["num_pixels"]))
