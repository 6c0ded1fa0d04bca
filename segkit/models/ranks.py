"""Rank of this process among those that share a batch."""

from torch import distributed


def rank_and_world_size() -> tuple[int, int]:
    """Rank of this process and the number of ranks; (0, 1) outside distributed training."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()
