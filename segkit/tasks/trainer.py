"""Construction of the Trainer."""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from segkit.core import rank_processes
from segkit.core.errors import ConfigError
from segkit.tasks.callbacks import AtomicCheckpointIO, ProgressReports
from segkit.tasks.precision import Precision, resolve_precision
from segkit.tasks.settings import RuntimeSettings


def silence_lightning() -> None:
    """Silence Lightning's messages about loaders, loggers and devices, which repeat the settings."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")


def build_trainer(
    runtime: RuntimeSettings,
    work_dir: Path,
    label: str,
    *,
    precision: Precision | None = None,
    can_split: Callable[[int], bool] = lambda num_devices: True,
    log_interval_steps: int = 1,
    logger: Logger | None = None,
    callbacks: Sequence[Callback] = (),
    **limits: Any,
) -> L.Trainer:
    """A Trainer for this machine. From here on, Lightning's own messages are silenced.

    Args:
        precision: overrides the runtime's, for a resumed stage that began with another.
        can_split: whether a number of devices can share the work; `devices: auto` uses the largest possible number.
        log_interval_steps: steps between two log entries; each waits for the GPU.
        limits: `max_epochs` and other arguments of the Trainer.

    Raises:
        ConfigError: the requested devices do not exist.
    """
    silence_lightning()
    if runtime.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("runtime.accelerator = 'gpu', but torch finds no GPU; use 'auto' or see `segkit doctor`")
    on_gpu = runtime.accelerator != "cpu" and torch.cuda.is_available()
    devices = runtime.devices
    if devices == "auto":
        devices = _most_devices(torch.cuda.device_count(), can_split, runtime.num_nodes) if on_gpu else 1
    several = devices != 1 or runtime.num_nodes > 1
    if on_gpu:
        # TF32 for operations that stay in fp32: ten bits of mantissa suffice here, and it is many times faster.
        torch.set_float32_matmul_precision("high")
    trainer = L.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=devices,
        num_nodes=runtime.num_nodes,
        strategy="ddp" if runtime.strategy == "ddp" or several else "auto",
        precision=precision or resolve_precision(runtime.precision, runtime.accelerator),
        # some operations have no deterministic algorithm
        deterministic="warn" if runtime.deterministic and on_gpu else False,
        sync_batchnorm=several and on_gpu,
        use_distributed_sampler=False,  # our samplers use the rank; Lightning's would repeat images
        num_sanity_val_steps=0,
        logger=logger if logger is not None else False,
        callbacks=[*callbacks, ProgressReports(label)],
        plugins=[AtomicCheckpointIO(), *([LightningEnvironment()] if several and _is_only_task_of_slurm() else [])],
        enable_checkpointing=any(type(callback).__name__ == "ModelCheckpoint" for callback in callbacks),
        enable_model_summary=False,
        enable_progress_bar=False,
        log_every_n_steps=log_interval_steps,
        default_root_dir=work_dir,
        **limits,
    )
    if trainer.strategy.launcher is not None:
        rank_processes.register(trainer.strategy.launcher)
    return trainer


def _is_only_task_of_slurm() -> bool:
    """Whether SLURM started only this process, so that Lightning must start the other ranks.

    By default Lightning assumes that such a job has one rank, and leaves the other devices idle.
    """
    return os.environ.get("SLURM_NTASKS") == "1" and "RANK" not in os.environ


def _most_devices(available: int, can_split: Callable[[int], bool], num_nodes: int) -> int:
    """The largest number of devices on a node that can share the work; at least one."""
    return max((n for n in range(2, available + 1) if can_split(n * num_nodes)), default=1)
