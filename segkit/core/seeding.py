"""Seeds derived from their purpose: every use has its own random stream, independent of the order of calls."""

import hashlib

LARGEST_SEED = 2**32 - 1
"""Largest seed of NumPy's legacy generator, which StyleGAN code draws latents with."""


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed as a fixed function of `parts`, such as (seed, epoch, index)."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
