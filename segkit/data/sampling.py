"""Which image is drawn when: pure functions of (seed, epoch), the same for one process or many."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from segkit.core.seeding import derive_seed


class Draw(NamedTuple):
    """One image of one batch, and the seed of its augmentation."""

    index: int
    seed: int


@dataclass(frozen=True)
class Pool:
    """A part of the data and how many of its images an epoch takes."""

    indices: tuple[int, ...]
    per_epoch: int


def epoch_order(pools: tuple[Pool, ...], seed: int, epoch: int) -> list[int]:
    """Indices of one epoch, shuffled; a pool's images recur only when all of them have been drawn."""
    generator = np.random.default_rng(derive_seed(seed, "order", epoch))
    chosen: list[int] = []
    for pool in pools:
        rounds = -(-pool.per_epoch // max(len(pool.indices), 1))
        repeated = [index for _ in range(rounds) for index in generator.permutation(pool.indices).tolist()]
        chosen += repeated[: pool.per_epoch]
    return [chosen[position] for position in generator.permutation(len(chosen)).tolist()]


def global_batches(order: list[int], batch_size: int) -> list[list[int]]:
    """Full batches; the last one is filled up from the epoch's beginning, so that every step weighs the same."""
    count = -(-len(order) // batch_size)
    wrapped = [order[position % len(order)] for position in range(count * batch_size)]
    return [wrapped[start : start + batch_size] for start in range(0, len(wrapped), batch_size)]


class BatchSampler(Sampler[list[Draw]]):
    """This rank's share of each global batch; Lightning calls `set_epoch`."""

    def __init__(self, pools: tuple[Pool, ...], batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.pools = pools
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-sum(pool.per_epoch for pool in self.pools) // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        share = self.batch_size // self.world_size
        batches = global_batches(epoch_order(self.pools, self.seed, self.epoch), self.batch_size)
        for number, batch in enumerate(batches):
            start = self.rank * share
            yield [
                Draw(batch[place], derive_seed(self.seed, "augment", self.epoch, number, place))
                for place in range(start, start + share)
            ]
