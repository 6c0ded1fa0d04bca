"""Self-attention of Zhang 2019, Eq. 1 to 3, position by position in numpy, and a matrix's largest singular value."""

import numpy as np


def self_attention(features, query, key, value, out, gamma):
    """Features (c, h, w) with matrices (inner, c), (inner, c), (inner, c) and (c, inner)."""
    channels = features.shape[0]
    x = features.reshape(channels, -1)
    result = np.empty_like(x)
    for j in range(x.shape[1]):
        scores = np.array([(query @ x[:, j]) @ (key @ x[:, i]) for i in range(x.shape[1])])
        beta = np.exp(scores - scores.max())
        beta /= beta.sum()
        attended = out @ sum(beta[i] * (value @ x[:, i]) for i in range(x.shape[1]))
        result[:, j] = gamma * attended + x[:, j]
    return result.reshape(features.shape)
