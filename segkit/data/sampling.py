"""The order of training images: pure functions of seed and epoch, independent of the number of processes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from segkit.core.seeding import derive_seed


@dataclass(frozen=True)
class Draw:
    """An image of a batch, and the seed of its augmentation."""

    index: int
    seed: int


@dataclass(frozen=True)
class Pool:
    """A part of the data, and the number of its images per epoch; both are at least 1."""

    indices: tuple[int, ...]
    per_epoch: int


def epoch_order(pools: tuple[Pool, ...], seed: int, epoch: int) -> list[int]:
    """Shuffled indices of one epoch. An image of a pool is repeated, also across epochs, only after all others."""
    chosen = [index for number, pool in enumerate(pools) for index in _next_images(pool, (seed, "pool", number), epoch)]
    generator = np.random.default_rng(derive_seed(seed, "order", epoch))
    return [chosen[position] for position in generator.permutation(len(chosen)).tolist()]


def _next_images(pool: Pool, purpose: tuple[int | str, ...], epoch: int) -> list[int]:
    """The epoch's part of an endless sequence of rounds; a round is a permutation of all images."""
    size, start = len(pool.indices), epoch * pool.per_epoch
    rounds = range(start // size, -(-(start + pool.per_epoch) // size))
    generators = (np.random.default_rng(derive_seed(*purpose, "round", number)) for number in rounds)
    sequence = [index for generator in generators for index in generator.permutation(pool.indices).tolist()]
    return sequence[start % size : start % size + pool.per_epoch]


def global_batches(order: list[int], batch_size: int) -> list[list[int]]:
    """Full batches; the last one is filled from the beginning of the epoch, so that all steps have the same size."""
    count = -(-len(order) // batch_size)
    wrapped = [order[position % len(order)] for position in range(count * batch_size)]
    return [wrapped[start : start + batch_size] for start in range(0, len(wrapped), batch_size)]


class BatchSampler(Sampler[list[Draw]]):
    """This rank's part of each global batch; Lightning calls `set_epoch`."""

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
