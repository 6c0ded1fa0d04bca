"""Callbacks of a training phase: best weights, curves and checkpoints, which survive a kill, and progress."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from segkit.core.files import as_csv, atomic_path, write_text
from segkit.core.progress import Reporter

FORMAT_KEY, CHECKPOINT_FORMAT = "segkit_format", 1
"""Raise the number when checkpoints come to hold something else than before beside the networks' tensors, which are
compared by name: the state of a callback, or a clock. Without it a checkpoint has format 1."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, with their format."""

    def save_checkpoint(self, checkpoint: dict[str, object], path: str | Path, storage_options: object = None) -> None:
        with atomic_path(Path(path)) as temporary:
            torch.save({**checkpoint, FORMAT_KEY: CHECKPOINT_FORMAT}, temporary)


def last_checkpoint(folder: Path, every_n_epochs: int = 1) -> ModelCheckpoint:
    """Keep `last.ckpt` of the latest finished epoch, and nothing else, in `folder`."""
    return ModelCheckpoint(
        dirpath=folder,
        filename="last",
        monitor=None,
        save_top_k=1,
        every_n_epochs=every_n_epochs,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


class BestWeights(Callback):
    """Keeps the weights with the best validation score, or the last ones, and stops training without improvement.

    The last epoch is always validated; a score that is nan never wins. The state is part of the checkpoint, so that a
    resumed run chooses among the same candidates.
    """

    def __init__(
        self, monitor: str, patience_epochs: int | None = None, keep: Literal["best", "last"] = "best"
    ) -> None:
        self.monitor = monitor
        self.keep = keep
        self.patience_epochs = patience_epochs
        self.score = -math.inf
        self.epoch = -1
        self.weights: dict[str, torch.Tensor] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: object) -> None:
        if trainer.sanity_checking or self.keep == "last":
            return
        score = float(trainer.callback_metrics[self.monitor])
        if score > self.score or not self.weights:
            self._keep(trainer, pl_module, -math.inf if math.isnan(score) else score)

    def _keep(self, trainer: L.Trainer, pl_module: Any, score: float) -> None:
        self.score, self.epoch = score, trainer.current_epoch
        state = pl_module.best_model.state_dict()
        self.weights = {name: value.detach().cpu().clone() for name, value in state.items()}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: object) -> None:
        if trainer.max_epochs == trainer.current_epoch + 1:
            trainer.check_val_every_n_epoch = 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: object) -> None:
        if self.patience_epochs is not None and self.exhausted(trainer.current_epoch):
            trainer.should_stop = True
        if self.keep == "last" and trainer.max_epochs == trainer.current_epoch + 1:
            self._keep(trainer, pl_module, -math.inf)

    def on_train_start(self, trainer: L.Trainer, pl_module: object) -> None:
        # A run that was killed after its last epoch must not train another one.
        if trainer.current_epoch > 0 and self.exhausted(trainer.current_epoch - 1):
            trainer.should_stop = True

    def exhausted(self, epoch: int) -> bool:
        """Whether patience has run out after `epoch`."""
        return self.patience_epochs is not None and self.epoch >= 0 and epoch - self.epoch >= self.patience_epochs

    def state_dict(self) -> dict[str, object]:
        return {"score": self.score, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score, self.epoch, self.weights = state_dict["score"], state_dict["epoch"], state_dict["weights"]


class Curves(Callback):
    """Writes metrics as CSV to `path`, one row per epoch or every `every_n_steps`; a resumed run appends."""

    def __init__(self, path: Path | None, every_n_steps: int | None = None) -> None:
        self.path = path
        self.every_n_steps = every_n_steps
        self.rows: list[dict[str, float]] = []
        self.validated = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: object) -> None:
        self.validated = True

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: object, *args: object) -> None:
        if self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0:
            self._add(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: object) -> None:
        if self.every_n_steps is None:
            self._add(trainer)

    def _add(self, trainer: L.Trainer) -> None:
        row = {"epoch": float(trainer.current_epoch), "step": float(trainer.global_step)}
        for number, scheduler in enumerate(trainer.lr_scheduler_configs):
            row["lr" if number == 0 else f"lr-{number}"] = float(scheduler.scheduler.get_last_lr()[0])
        if trainer.logger is not None:  # Lightning logs the metrics and the epoch
            trainer.logger.log_metrics(
                {key: value for key, value in row.items() if key != "epoch"}, trainer.global_step
            )
        for key, value in sorted(trainer.callback_metrics.items()):
            if self.validated or not key.startswith("val/"):
                row[key] = float(value)
        self.validated = False
        self.rows.append(row)
        if self.path is not None and trainer.is_global_zero:
            write_text(self.path, as_csv(self.rows, float_format=".10g"))

    def state_dict(self) -> dict[str, object]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]


class ProgressReports(Callback):
    """Progress of a Trainer.

    Metrics are read only when a report is due, because reading one waits for the GPU.
    """

    METRICS: ClassVar[Mapping[str, str]] = {
        "val/dice": "val/dice",
        "train/loss": "loss",
        "gan/kimg": "kimg",
        "gan/ada_p": "p",
    }
    """Those that are shown, and what they are called."""

    def __init__(self, label: str, interval_s: float | None = None) -> None:
        self.reporter = Reporter(label, interval_s)

    def on_train_start(self, trainer: L.Trainer, pl_module: object) -> None:
        self.reporter.begin()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: object, *args: object) -> None:
        if not (self.reporter.is_due(trainer.global_step) and trainer.is_global_zero):
            return
        metrics = trainer.callback_metrics
        shown = [f", {name} {float(metrics[key]):.4f}" for key, name in self.METRICS.items() if key in metrics]
        self.reporter.report(trainer.global_step, int(trainer.estimated_stepping_batches), "step", "".join(shown))

    def on_predict_start(self, trainer: L.Trainer, pl_module: object) -> None:
        self.reporter.begin()

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: object,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.reporter.is_due(batch_idx + 1) and trainer.is_global_zero:
            self.reporter.report(batch_idx + 1, int(sum(trainer.num_predict_batches)), "image")

    def teardown(self, trainer: L.Trainer, pl_module: object, stage: str) -> None:
        self.reporter.end()

    def on_exception(self, trainer: L.Trainer, pl_module: object, exception: BaseException) -> None:
        self.reporter.end()
