"""Combine the probability maps of several models, and choose weights on validation images."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Rule = Literal["mean", "weighted", "max", "vote", "intersection"]
Maps = npt.NDArray[np.float32]
"""(members, k, ...) probabilities in [0, 1]; k = 1 in a binary task, else one map per class."""


def combine(maps: Maps, rule: Rule, weights: Sequence[float], thresholds: Sequence[float]) -> npt.NDArray[np.float32]:
    """Combine the members' maps along the first axis to one map in [0, 1].

    `mean` and `weighted` average the probabilities, `max` is the union, `intersection` the minimum, and `vote` the
    share of members that predict the class: by their own threshold in a binary task, else as the most probable class.
    `weights` sum to 1 and are used by `weighted` only.
    """
    if rule == "max":
        return np.asarray(maps.max(0))
    if rule == "intersection":
        return np.asarray(maps.min(0))
    if rule == "vote":
        if maps.shape[1] > 1:
            classes = np.arange(maps.shape[1]).reshape(-1, *[1] * (maps.ndim - 2))
            return np.asarray((maps.argmax(1)[:, None] == classes).mean(0, dtype=np.float32))
        cut = np.asarray(thresholds, np.float32).reshape(-1, *[1] * (maps.ndim - 1))
        return np.asarray((maps >= cut).mean(0, dtype=np.float32))
    share = np.asarray(weights if rule == "weighted" else [1 / len(maps)] * len(maps), np.float32)
    return np.asarray(np.tensordot(share, maps, axes=1), np.float32).clip(0, 1)


def greedy_weights(num_members: int, score: Callable[[Sequence[float]], float], num_picks: int = 10) -> list[float]:
    """Weights by greedy selection with replacement: each pick adds the member that helps most (Caruana 2004).

    `score` of weights is maximised; the weights of the best prefix of picks are returned.
    """
    counts = np.zeros(num_members)
    best: tuple[float, list[float]] = (-np.inf, [1 / num_members] * num_members)
    for _ in range(num_picks):
        candidates = []
        for member in range(num_members):
            weights = ((counts + np.eye(num_members)[member]) / (counts.sum() + 1)).tolist()
            candidates.append((score(weights), -member, weights))
        value, member, weights = max(candidates)
        counts[-member] += 1
        if value > best[0]:
            best = (value, weights)
    return best[1]
