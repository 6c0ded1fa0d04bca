import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from segkit.core.config import validate
from segkit.core.errors import ConfigError
from segkit.tasks import trainer as module
from segkit.tasks.callbacks import AtomicCheckpointIO, ProgressReports, last_checkpoint
from segkit.tasks.settings import RuntimeSettings
from segkit.tasks.trainer import build_trainer, silence_lightning

ROOT = Path(__file__).resolve().parents[2]


def build(tmp_path, callbacks=(), **runtime):
    settings = RuntimeSettings(**({"accelerator": "cpu", "precision": "32-true"} | runtime))
    return build_trainer(settings, tmp_path, "stage", callbacks=callbacks)


def test_one_device_trains_plainly_and_several_by_ddp(tmp_path):
    assert isinstance(build(tmp_path).strategy, SingleDeviceStrategy)
    two = build(tmp_path, devices=2)
    assert isinstance(two.strategy, DDPStrategy)
    assert two.world_size == 2
    assert isinstance(build(tmp_path, strategy="ddp").strategy, DDPStrategy)


@pytest.mark.parametrize("num_tasks", ["1", "2"])
def test_in_a_batch_script_of_slurm_every_device_gets_a_process(tmp_path, monkeypatch, num_tasks):
    for name in ("PROCID", "LOCALID", "NODEID"):
        monkeypatch.setenv(f"SLURM_{name}", "0")
    monkeypatch.setenv("SLURM_NTASKS", num_tasks)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", num_tasks)
    monkeypatch.delenv("RANK", raising=False)
    made = build(tmp_path, devices=2)
    assert made.world_size == 2
    starts_them = not made.strategy.cluster_environment.creates_processes_externally
    assert starts_them == (num_tasks == "1")


def test_automatic_devices_on_a_cpu_are_one_process_per_node(tmp_path):
    alone = build(tmp_path, devices="auto")
    assert isinstance(alone.strategy, SingleDeviceStrategy)
    assert alone.num_devices == 1
    nodes = build(tmp_path, devices="auto", num_nodes=2)
    assert isinstance(nodes.strategy, DDPStrategy)
    assert (nodes.num_nodes, nodes.num_devices) == (2, 1)


def test_lightning_leaves_our_samplers_alone_and_does_nothing_unasked(tmp_path):
    made = build(tmp_path)
    assert not made._accelerator_connector.use_distributed_sampler
    assert made.num_sanity_val_steps == 0
    assert made.loggers == []
    assert made.checkpoint_callbacks == []
    assert isinstance(made.strategy.checkpoint_io, AtomicCheckpointIO)
    assert any(isinstance(callback, ProgressReports) for callback in made.callbacks)
    assert made.default_root_dir == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_are_made_only_by_the_callback_that_is_given(tmp_path):
    kept = last_checkpoint(tmp_path / "kept")
    assert build(tmp_path, callbacks=[kept]).checkpoint_callbacks == [kept]


def test_the_precision_is_the_runtimes_or_the_one_that_was_begun_with(tmp_path):
    assert build(tmp_path, precision="bf16-mixed").precision == "bf16-mixed"
    runtime = RuntimeSettings(accelerator="cpu", precision="bf16-mixed")
    assert build_trainer(runtime, tmp_path, "stage", precision="32-true").precision == "32-true"


def test_limits_reach_lightning(tmp_path):
    runtime = RuntimeSettings(accelerator="cpu", precision="32-true")
    assert build_trainer(runtime, tmp_path, "stage", max_epochs=7, check_val_every_n_epoch=3).max_epochs == 7


def test_a_gpu_that_is_not_there_is_an_error_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"runtime.accelerator = 'gpu', but torch finds no GPU"):
        build(tmp_path, accelerator="gpu")


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ({}, {"accelerator": "gpu", "devices": 1, "strategy": "auto", "sync_batchnorm": False}),
        ({"devices": 2}, {"accelerator": "gpu", "devices": 2, "strategy": "ddp", "sync_batchnorm": True}),
        ({"devices": "auto"}, {"accelerator": "gpu", "devices": 4, "strategy": "ddp", "sync_batchnorm": True}),
        ({"num_nodes": 2}, {"devices": 1, "num_nodes": 2, "strategy": "ddp", "sync_batchnorm": True}),
        ({"deterministic": True}, {"deterministic": "warn"}),
        ({"accelerator": "cpu"}, {"accelerator": "cpu", "devices": 1, "sync_batchnorm": False}),
        ({"accelerator": "cpu", "deterministic": True}, {"deterministic": False}),
    ],
)
def test_what_a_machine_with_gpus_would_be_asked_for(tmp_path, monkeypatch, runtime, expected):
    asked = {}

    def ask(**arguments):
        asked.update(arguments)
        return SimpleNamespace(strategy=SimpleNamespace(launcher=None))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda how: asked.update(tf32=how))
    monkeypatch.setattr(module.L, "Trainer", ask)
    monkeypatch.setattr(module, "resolve_precision", lambda *_: "32-true")
    function = getattr(build_trainer, "__wrapped__", build_trainer)
    function(RuntimeSettings(**runtime), tmp_path, "stage")
    assert expected.items() <= asked.items()
    assert ("tf32" in asked) == (asked["accelerator"] == "gpu")


@pytest.mark.parametrize(
    ("available", "batch_size", "num_nodes", "expected"),
    [(4, 6, 1, 3), (4, 2, 1, 2), (3, 1, 1, 1), (8, 32, 1, 8), (8, 8, 2, 4), (4, 0, 1, 4), (0, 2, 1, 1)],
)
def test_auto_takes_the_most_devices_that_can_share_the_work(available, batch_size, num_nodes, expected):
    assert module._most_devices(available, lambda num_devices: batch_size % num_devices == 0, num_nodes) == expected


def test_quiet_silences_lightning_and_nobody_else():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        silence_lightning()
        for name in ("lightning.pytorch.loops", "lightning_utilities.core", "segkit.tasks"):
            warnings.warn_explicit(f"from {name}", UserWarning, f"{name}.py", 1, module=name)
        assert [str(one.message) for one in heard] == ["from segkit.tasks"]
    assert logging.getLogger("lightning.pytorch").level == logging.ERROR


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"devices": 0}, "devices = 0: input should be greater than or equal to 1, or input should be 'auto'"),
        ({"precision": "bf16"}, "precision = 'bf16': input should be 'auto', '32-true', 'bf16-mixed' or '16-mixed'"),
        ({"tracker": "tensorboard"}, "tracker = 'tensorboard': input should be 'wandb', 'csv' or 'none'"),
    ],
)
def test_a_runtime_that_does_not_exist_is_refused(raw, message):
    with pytest.raises(ConfigError) as caught:
        validate(RuntimeSettings, raw, "f")
    assert str(caught.value) == f"f: {message}"


def test_what_cannot_change_a_result_stays_out_of_a_runs_identity():
    same = RuntimeSettings(devices=4, num_nodes=2, strategy="ddp", num_workers=3, tracker="wandb", wandb_project="x")
    assert same.identity() == RuntimeSettings().identity()
    for changes in ({"seed": 1}, {"precision": "32-true"}, {"deterministic": True}):
        assert RuntimeSettings(**changes).identity() != RuntimeSettings().identity()


def test_a_trainer_is_lightnings(tmp_path):
    assert isinstance(build(tmp_path), L.Trainer)


def test_the_logger_hears_of_a_step_as_often_as_asked(tmp_path):
    asked = build_trainer(RuntimeSettings(accelerator="cpu"), tmp_path, "stage", log_interval_steps=5)
    assert asked.log_every_n_steps == 5


@pytest.mark.slow
def test_a_first_rank_that_fails_leaves_no_other_behind(tmp_path):
    command = [sys.executable, "-m", "tests.tasks.fail_alone", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "error: the disk is full" in done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "second").read_text()), 0)
