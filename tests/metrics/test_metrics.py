import numpy as np
import pytest
from sklearn import metrics as sk

from segkit.metrics import metrics, reductions
from segkit.metrics.metrics import METRICS
from segkit.metrics.reductions import ClassMaps
from segkit.metrics.significance import resample_multiplicities
from tests.reference.metrics_pixels import calibration_error, cldice, rates, retina

LEVELS, VESSELS, FOV = retina(20, num_images=5)


def reduced(reduction, cut=32768, truths=VESSELS):
    """The reduction's array of each image, stacked."""
    images = zip(LEVELS, truths, FOV, strict=True)
    return np.stack([reduction(ClassMaps(levels, levels >= cut, truth, fov)) for levels, truth, fov in images])


IMAGES = reduced(reductions.levels)
DRAWN = np.vstack([np.ones((1, 5), dtype=np.int64), np.eye(5, dtype=np.int64), resample_multiplicities(5, 6, seed=0)])


def resampled_pixels():
    """The pixels of each resample, really gathered: probabilities and truths."""
    for counts in DRAWN:
        index = np.repeat(np.arange(5), counts)
        yield LEVELS[index][FOV[index]] / 65535, VESSELS[index][FOV[index]]


def clipped_log_loss(probs, truth):
    return sk.log_loss(truth, np.clip(probs, 0.5 / 65535, 1 - 0.5 / 65535))


@pytest.mark.parametrize(
    ("statistic", "on_pixels"),
    [
        (metrics.auroc, lambda probs, truth: sk.roc_auc_score(truth, probs)),
        (metrics.auprc, lambda probs, truth: sk.average_precision_score(truth, probs)),
        (metrics.log_loss, clipped_log_loss),
        (metrics.ece, lambda probs, truth: calibration_error(probs, truth, 15)),
    ],
    ids=["auroc", "auprc", "log_loss", "ece"],
)
def test_resampled_counts_equal_resampled_pixels(statistic, on_pixels):
    expected = [on_pixels(probs, truth) for probs, truth in resampled_pixels()]
    np.testing.assert_allclose(statistic(IMAGES)(DRAWN), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["dice", "mcc", "precision"])
def test_resampled_rates_equal_resampled_pixels(name):
    expected = [rates(probs, truth, np.ones_like(truth), 0.4)[name] for probs, truth in resampled_pixels()]
    np.testing.assert_allclose(
        METRICS[name].statistic(reduced(reductions.confusion, cut=0.4 * 65535))(DRAWN), expected, rtol=1e-10
    )


def test_cutting_the_resamples_in_chunks_changes_nothing(monkeypatch):
    whole = metrics.auprc(IMAGES)(DRAWN)
    monkeypatch.setattr(metrics, "RESAMPLES_AT_ONCE", 5)
    np.testing.assert_allclose(metrics.auprc(IMAGES)(DRAWN), whole, rtol=1e-13)


def test_pooled_cldice_is_that_of_the_images_laid_side_by_side():
    gap = np.zeros((24, 3), dtype=bool)  # keeps the skeletons of neighbours apart
    predictions, truths, regions = (
        np.hstack([np.hstack([image & fov, gap]) for image, fov in zip(maps, FOV, strict=True)])
        for maps in (LEVELS >= 32768, VESSELS, FOV)
    )
    assert metrics.cldice(reduced(reductions.skeletons))(DRAWN[:1])[0] == pytest.approx(
        cldice(predictions, truths, regions), rel=1e-12
    )


def test_images_without_vessels_have_no_ranking_by_themselves():
    bare = reduced(reductions.levels, truths=[np.zeros_like(VESSELS[0]), *VESSELS[1:]])[:2]
    for statistic in (metrics.auroc(bare), metrics.auprc(bare)):
        alone, other, both = statistic(np.array([[2, 0], [0, 1], [1, 1]]))
        assert np.isnan(alone)
        assert np.isfinite([other, both]).all()
