"""Losses of a label map the plain way: pick the pixels that count, in float64, one image at a time."""

import numpy as np
from scipy import ndimage


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


def focal(logits, vessels, weight, gamma=2.0):
    """Each pixel's loss if it is of the class, and if it is not, in the shares of the target."""
    p, v, w = counted(probabilities(logits), weight), counted(vessels, weight), counted(weight, weight)
    values = -v * (1 - p) ** gamma * np.log(p) - (1 - v) * p**gamma * np.log(1 - p)
    return float(np.average(values, weights=w))


def tversky(logits, vessels, weight, alpha=0.3, beta=0.7):
    p, v, w = counted(probabilities(logits), weight), counted(vessels, weight), counted(weight, weight)
    tp, fp, fn = (float((w * a * b).sum()) for a, b in ((p, v), (p, 1 - v), (1 - p, v)))
    return 1 - tp / (tp + alpha * fp + beta * fn)


def extension(errors, truth, weight):
    """Lovasz extension of 1 - IoU: as a sum over sets of pixels that grow by the next largest error."""

    def jaccard_loss(wrong):
        union = truth | wrong
        return 1 - weight[truth & ~wrong].sum() / weight[union].sum() if weight[union].sum() else 0.0

    wrong, total, before = np.zeros(truth.shape, dtype=bool), 0.0, 0.0
    for pixel in np.argsort(-errors):
        wrong[pixel] = True
        after = jaccard_loss(wrong)
        total, before = total + errors[pixel] * (after - before), after
    return float(total)


def lovasz_hinge(logits, vessels, weight):
    x, v, w = counted(logits, weight), counted(vessels, weight) >= 0.5, counted(weight, weight)
    return extension(np.maximum(0, 1 - np.where(v, x, -x)), v, w)


def soft_skeleton(image, iterations):
    """Shit 2021, Algorithm 1, with erosion by a cross and dilation by a square."""
    cross = ndimage.generate_binary_structure(2, 1)

    def eroded(array):
        return ndimage.grey_erosion(array, footprint=cross, mode="constant", cval=np.inf)

    def opened(array):
        return ndimage.grey_dilation(eroded(array), size=(3, 3), mode="constant", cval=-np.inf)

    skeleton = np.maximum(image - opened(image), 0)
    for _ in range(iterations):
        image = eroded(image)
        skeleton = skeleton + (1 - skeleton) * np.maximum(image - opened(image), 0)
    return skeleton


def cldice(logits, vessels, weight, iterations=5):
    inside = weight > 0
    p, v = probabilities(logits) * inside, vessels.astype(np.float64) * inside
    line, true_line = (soft_skeleton(image, iterations) * weight for image in (p, v))
    precision, sensitivity = (line * v).sum() / line.sum(), (true_line * p).sum() / true_line.sum()
    return float(1 - 2 * precision * sensitivity / (precision + sensitivity))


LOSSES = {
    "ce": bce,
    "bce": bce,
    "focal": focal,
    "dice": dice,
    "tversky": tversky,
    "mcc": mcc,
    "lovasz": lovasz_hinge,
    "cldice": cldice,
    "bce-dice": lambda *args: (bce(*args) + dice(*args)) / 2,
    "bce-mcc": lambda *args: (bce(*args) + mcc(*args)) / 2,
    "focal-tversky": lambda *args: tversky(*args) ** 0.75,
    "dice-cldice": lambda *args: (dice(*args) + cldice(*args)) / 2,
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


def multiclass_focal(logits, target, weight, gamma=2.0):
    probs = softmax(logits)
    per_pixel = -(target.astype(np.float64) * (1 - probs) ** gamma * np.log(probs)).sum(axis=0)
    return float(np.average(per_pixel, weights=weight[0].astype(np.float64)))


def lovasz_softmax(logits, target, weight):
    """The mean over the classes that have pixels."""
    inside = weight[0] > 0
    w, values = weight[0][inside].astype(np.float64), []
    for probs, truth in zip(softmax(logits), target >= 0.5, strict=True):
        if (truth & inside).any():
            values.append(extension(np.abs(truth - probs)[inside], truth[inside], w))
    return float(np.mean(values))


MULTICLASS = {
    "ce": multiclass_ce,
    "focal": multiclass_focal,
    "dice": multiclass_dice,
    "tversky": lambda *args: one_against_the_rest(tversky, *args),
    "mcc": lambda *args: one_against_the_rest(mcc, *args),
    "lovasz": lovasz_softmax,
    "cldice": lambda *args: one_against_the_rest(cldice, *args, first=1),
}
