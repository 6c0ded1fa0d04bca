from collections import Counter
from itertools import chain

import numpy as np
import pytest

from segkit.data.sampling import BatchSampler, Pool, epoch_order, global_batches


def draws(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return list(sampler)


def indices(sampler, epoch=0):
    return [[draw.index for draw in batch] for batch in draws(sampler, epoch)]


def test_the_order_is_a_function_of_seed_and_epoch():
    pools = (Pool(tuple(range(10)), 10), Pool(tuple(range(10, 40)), 10))
    orders = {(seed, epoch): epoch_order(pools, seed, epoch) for seed in range(3) for epoch in range(4)}
    assert all(epoch_order(pools, *key) == order for key, order in orders.items())
    assert len({tuple(order) for order in orders.values()}) == len(orders)


def test_every_image_comes_once_an_epoch():
    pools = (Pool((3, 5, 7), 3), Pool(tuple(range(10, 17)), 7))
    for epoch in range(5):
        assert sorted(epoch_order(pools, 0, epoch)) == [3, 5, 7, *range(10, 17)]


@pytest.mark.parametrize("per_epoch", [1, 3, 7, 10, 25])
def test_an_image_recurs_only_when_all_have_been_drawn(per_epoch):
    size = 7
    pool = Pool(tuple(range(size)), per_epoch)
    seen = Counter()
    for epoch in range(size):
        order = epoch_order((pool,), 1, epoch)
        assert len(order) == per_epoch
        seen.update(order)
        assert max(seen.values()) - min(seen[index] for index in range(size)) <= 1
    assert set(seen.values()) == {per_epoch}


def test_images_of_different_pools_are_shuffled_together_and_anew_each_epoch():
    pools = (Pool(tuple(range(50)), 50), Pool(tuple(range(50, 100)), 50))
    first, second = (np.array(epoch_order(pools, 0, epoch)) < 50 for epoch in range(2))
    assert 30 < np.count_nonzero(first[1:] != first[:-1]) < 70
    assert 30 < np.count_nonzero(first != second) < 70


def test_every_image_may_come_at_any_place():
    orders = np.array([epoch_order((Pool(tuple(range(5)), 5),), 0, epoch) for epoch in range(2000)])
    counts = np.stack([np.bincount(column, minlength=5) for column in orders.T])
    assert np.abs(counts / 2000 - 0.2).max() < 0.04


def test_the_last_batch_is_filled_up_from_the_epochs_beginning():
    assert global_batches([4, 2, 9, 7, 1], 2) == [[4, 2], [9, 7], [1, 4]]
    assert global_batches([4, 2], 5) == [[4, 2, 4, 2, 4]]
    assert global_batches([4, 2, 9, 7], 2) == [[4, 2], [9, 7]]


@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_ranks_part_each_global_batch_among_them(world_size):
    pools = (Pool(tuple(range(9)), 9), Pool(tuple(range(9, 30)), 8))
    whole = BatchSampler(pools, batch_size=6, seed=3)
    shares = [BatchSampler(pools, 6, 3, rank, world_size) for rank in range(world_size)]
    for epoch in range(3):
        together = [list(chain(*parts)) for parts in zip(*(draws(share, epoch) for share in shares), strict=True)]
        assert together == draws(whole, epoch)
        assert len(together) == len(whole) == len(shares[0]) == 3


def test_each_draw_has_a_seed_of_its_own_that_is_the_same_next_time():
    sampler = BatchSampler((Pool((0, 1, 2), 4),), 2, seed=0)
    seeds = [draw.seed for epoch in range(50) for batch in draws(sampler, epoch) for draw in batch]
    assert len(set(seeds)) == len(seeds) == 200
    assert seeds == [draw.seed for epoch in range(50) for batch in draws(sampler, epoch) for draw in batch]
    other = BatchSampler((Pool((0, 1, 2), 4),), 2, seed=1)
    assert not set(seeds) & {draw.seed for batch in draws(other) for draw in batch}


def test_an_epoch_has_as_many_steps_as_it_takes():
    for per_epoch, batch_size, steps in ((10, 2, 5), (11, 2, 6), (1, 4, 1)):
        sampler = BatchSampler((Pool(tuple(range(10)), per_epoch),), batch_size, 0)
        assert len(sampler) == len(indices(sampler)) == steps
        assert {len(batch) for batch in indices(sampler)} == {batch_size}
