"""Vessel metrics the plain way: pick the pixels of the region, then count them one condition at a time."""

import numpy as np
from skimage.morphology import skeletonize

from segkit.metrics.confusion import Confusion


def rates(probs: np.ndarray, vessels: np.ndarray, fov: np.ndarray, threshold: float) -> dict[str, float]:
    """Rates of `probs >= threshold` over the pixels of `fov`; the arrays have one shape."""
    p, v = probs[fov] >= threshold, vessels[fov]
    hit, missed, alarm = np.mean(p[v]), np.mean(~p[v]), np.mean(p[~v])
    right = np.mean(v[p])
    overlap, union = np.count_nonzero(p & v), np.count_nonzero(p | v)
    return {
        "sensitivity": hit,
        "specificity": 1 - alarm,
        "precision": right,
        "dice": 2 / (1 / right + 1 / (1 - missed)),
        "accuracy": np.mean(p == v),
        "mcc": np.corrcoef(p, v)[0, 1],
        "iou": overlap / union,
        "mean_iou": (overlap / union + np.count_nonzero(~p & ~v) / np.count_nonzero(~p | ~v)) / 2,
    }


def confusion(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray) -> Confusion:
    """Pixels of the region by prediction and truth, counted over pairs."""
    pairs = list(zip(prediction[region].tolist(), truth[region].tolist(), strict=True))
    return Confusion(*(pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))))


def cldice(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray) -> float:
    """Centre-line Dice inside the region (Shit 2021, Eq. 1 and 2), by shares of skeleton pixels."""
    prediction, truth = prediction & region, truth & region
    topology_precision = np.mean(truth[skeletonize(prediction)]) if prediction.any() else 0.0
    topology_sensitivity = np.mean(prediction[skeletonize(truth)]) if truth.any() else 0.0
    total = topology_precision + topology_sensitivity
    if not prediction.any() and not truth.any():
        return float("nan")
    return float(2 * topology_precision * topology_sensitivity / total) if total else 0.0


def calibration_error(probs: np.ndarray, vessels: np.ndarray, num_bins: int) -> float:
    """Sum over bins of (share of pixels in it) x |mean probability - share of vessels|; both arrays are flat."""
    error = 0.0
    for k in range(num_bins):
        upper = probs <= 1 if k == num_bins - 1 else probs < (k + 1) / num_bins
        inside = (probs >= k / num_bins) & upper
        if inside.any():
            error += inside.mean() * abs(probs[inside].mean() - vessels[inside].mean())
    return error


def best_dice(levels: np.ndarray, vessels: np.ndarray) -> float:
    """Highest Dice over all thresholds, each tried; both arrays are flat."""
    return max(2 * vessels[levels >= t].sum() / ((levels >= t).sum() + vessels.sum()) for t in np.unique(levels))


def retina(seed: int, num_images: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """16-bit levels with many ties, vessels that are crossing lines, and discs as fields of view: (n, h, w) each."""
    size = (24, 30)
    rng = np.random.default_rng(seed)
    shape = (num_images, *size)
    vessels = np.zeros(shape, dtype=bool)
    for image in vessels:
        row, column = rng.integers(4, size[0] - 4), rng.integers(4, size[1] - 4)
        image[row : row + 2] = True
        image[:, column : column + 2] = True
    logits = 2.5 * (vessels - 0.5) + rng.normal(size=shape)
    levels = np.round(65535 / (1 + np.exp(-logits))).astype(np.uint16)
    levels = np.where(rng.random(shape) < 0.5, levels // 8192 * 8192, levels).astype(np.uint16)
    y, x = np.mgrid[: size[0], : size[1]]
    disc = np.hypot((y - size[0] / 2) / size[0], (x - size[1] / 2) / size[1]) < 0.48
    return levels, vessels, np.broadcast_to(disc, shape).copy()
