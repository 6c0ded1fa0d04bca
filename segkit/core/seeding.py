"""Seeds derived from what they are for, so that no two uses share a stream and none depends on order."""

import hashlib

LARGEST_SEED = 2**32 - 1
"""NumPy's legacy generator, from which everyone draws latents, takes no larger one."""


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that is a fixed function of `parts`, such as (seed, epoch, index)."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
