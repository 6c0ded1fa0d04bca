"""Losses of a label map the plain way: pick the pixels that count, in float64, one image at a time."""

import numpy as np


def counted(array, weight):
    """The pixels of an image (h, w) that carry any weight."""
    return array[weight > 0].astype(np.float64)


def probabilities(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def bce(logits, vessels, weight):
    p, v, w = counted(probabilities(logits), weight), counted(vessels, weight), counted(weight, weight)
    return float(np.average(-(v * np.log(p) + (1 - v) * np.log(1 - p)), weights=w))


def dice(logits, vessels, weight):
    p, v, w = counted(probabilities(logits), weight), counted(vessels, weight), counted(weight, weight)
    return float(1 - 2 * (w * p * v).sum() / ((w * p).sum() + (w * v).sum()))


def mcc(logits, vessels, weight):
    """From the four soft counts, as the formula of the correlation is printed."""
    p, v, w = counted(probabilities(logits), weight), counted(vessels, weight), counted(weight, weight)
    tp, fp, fn, tn = (float((w * a * b).sum()) for a, b in ((p, v), (p, 1 - v), (1 - p, v), (1 - p, 1 - v)))
    return 1 - (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


LOSSES = {
    "bce": bce,
    "dice": dice,
    "bce-dice": lambda *args: (bce(*args) + dice(*args)) / 2,
    "bce-mcc": lambda *args: (bce(*args) + mcc(*args)) / 2,
}


def softmax(logits):
    """Probabilities (k, h, w) of logits (k, h, w)."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=0))
    return exponentials / exponentials.sum(axis=0)


def multiclass_ce(logits, target, weight):
    """Cross-entropy between soft targets (k, h, w) and predictions, the weighted mean over pixels."""
    per_pixel = -(target.astype(np.float64) * np.log(softmax(logits))).sum(axis=0)
    return float(np.average(per_pixel, weights=weight[0].astype(np.float64)))


def one_against_the_rest(loss, logits, target, weight, first=0):
    """The mean over classes of a binary loss, each class against all others."""
    probs = softmax(logits)
    as_logits = np.log(probs / (1 - probs))
    values = [loss(as_logits[index], target[index], weight[0]) for index in range(first, len(probs))]
    return float(np.mean(values))


def multiclass_dice(logits, target, weight, first=0):
    return one_against_the_rest(dice, logits, target, weight, first)


MULTICLASS = {
    "ce": multiclass_ce,
    "dice": multiclass_dice,
    "mcc": lambda *args: one_against_the_rest(mcc, *args),
}


def slope(loss, logits, vessels, weight, place, step=1e-4):
    """Change of the loss with one logit, by central differences."""
    up, down = logits.astype(np.float64), logits.astype(np.float64)
    up[place] += step
    down[place] -= step
    return (loss(up, vessels, weight) - loss(down, vessels, weight)) / (2 * step)
