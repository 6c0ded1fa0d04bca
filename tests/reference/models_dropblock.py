"""What DropBlock should do to a feature map, worked out position by position."""

import numpy as np


def seed_prob(drop_prob, block_size, height, width):
    """Ghiasi 2018, Eq. 1, term by term."""
    return (drop_prob / block_size**2) * (height * width) / ((height - block_size + 1) * (width - block_size + 1))


def drop_profile(drop_prob, block_size, height, width):
    """Chance (h, w) of each pixel to be dropped: that any of the blocks which could cover it was seeded."""
    gamma = seed_prob(drop_prob, block_size, height, width)
    chance = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            tops = [top for top in range(height - block_size + 1) if top <= row < top + block_size]
            lefts = [left for left in range(width - block_size + 1) if left <= column < left + block_size]
            chance[row, column] = 1 - (1 - gamma) ** (len(tops) * len(lefts))
    return chance


def is_union_of_blocks(dropped, block_size):
    """Whether a map (h, w) of dropped pixels is made of whole squares: each lies in a square that is all dropped."""
    height, width = dropped.shape
    covered = np.zeros_like(dropped)
    for top in range(height - block_size + 1):
        for left in range(width - block_size + 1):
            square = np.s_[top : top + block_size, left : left + block_size]
            if dropped[square].all():
                covered[square] = True
    return bool((covered == dropped).all())
