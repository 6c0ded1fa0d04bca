"""Fréchet distance between two clouds of features (FID: Heusel 2017, Eq. 6)."""

import numpy as np
from jaxtyping import Float


def frechet_distance(real: Float[np.ndarray, "n d"], drawn: Float[np.ndarray, "m d"]) -> float:
    """||mu_r - mu_d||^2 + tr(C_r + C_d - 2 (C_r C_d)^(1/2)), covariances with n - 1.

    With C = A'A the last trace is the sum of the singular values of A_r A_d'. That needs no square root of a matrix
    and is exact for covariances of any rank, as those of twenty images in a space of two thousand dimensions.

    The distance of finite samples is biased upwards, the more the fewer images there are, so only values of equal sizes
    can be compared. nan for fewer than two images.
    """
    if min(len(real), len(drawn)) < 2:
        return float("nan")
    shift = np.square(real.mean(axis=0) - drawn.mean(axis=0)).sum()
    a, b = _root(real), _root(drawn)
    overlap = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(shift + np.square(a).sum() + np.square(b).sum() - 2 * overlap, 0.0))


def _root(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "_ d"]:
    """A with A'A the covariance, of at most d rows."""
    centred: np.ndarray = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return centred if len(features) <= features.shape[1] else np.linalg.qr(centred).R
