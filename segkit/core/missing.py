"""Predict what is missing, shared by the ranks."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import lightning as L

T = TypeVar("T")


def predict_missing(
    trainer: "L.Trainer",
    missing: Sequence[T],
    task: Callable[[], "L.LightningModule"],
    loader: Callable[[Sequence[T]], Iterable[object]],
) -> None:
    """Predict the missing items; every rank computes its part and returns when all parts are done.

    Args:
        trainer: its callbacks or the task keep the results.
        missing: the same items on every rank.
        task: returns the task; called only if there is something to predict.
        loader: returns the loader of some items, of type `DataLoader` or any iterable with a length.
    """
    # All ranks list what is missing before one of them writes, and wait for files that the first rank writes.
    trainer.strategy.barrier()
    if missing:
        own = own_part(missing, trainer.global_rank, trainer.world_size)
        trainer.predict(task(), loader(own), return_predictions=False)
    trainer.strategy.barrier()


def own_part(items: Sequence[T], rank: int, world_size: int) -> Sequence[T]:
    """The items of a rank; the first item again if none is left, because Lightning refuses an empty loader."""
    return items[rank::world_size] or items[:1]
