"""What a GPU would object to, seen without one.

PyTorch's device "meta" has shapes and no numbers. Like a GPU it refuses operands that lie on the CPU, and it has
nothing to read back, so that a phase which would make the host wait fails on it.
"""

import pytest
import torch

from gan.bench.worker import Phases
from gan.training.task import StyleGAN2Task
from tests.gan.train_together import tiny


class Still(torch.optim.SGD):
    """Adam's kernels have no form for the device."""

    def step(self, closure=None):
        pass


@pytest.fixture
def meta_device(monkeypatch):
    """Lets numbers be drawn on it: any generator does for numbers that are not there."""
    real = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": real())
    for name in ("rand", "randn"):
        function = getattr(torch, name)

        def drawn(*size, function=function, generator=None, device=None, **options):
            on_meta = device is not None and torch.device(device).type == "meta"
            return function(*size, generator=None if on_meta else generator, device=device, **options)

        monkeypatch.setattr(torch, name, drawn)
    return torch.device("meta")


@pytest.mark.parametrize(
    "changes",
    [
        {"augment": "none"},
        {"augment": "fixed", "augment_p": 0.5, "augment_transforms": "bgcfnc"},
        {"augment": "fixed", "augment_p": 0.5, "augment_transforms": "fundus", "images_per_pass": 4, "batch_size": 8},
        {"num_low_precision_resolutions": 2, "augment": "none", "train_noise": "const"},
        {"num_low_precision_resolutions": 2, "low_precision": "fp16", "d_architecture": "orig", "freeze_d": 2},
    ],
)
def test_every_phase_keeps_to_one_device_and_reads_nothing_back(meta_device, changes):
    settings = tiny(**changes)
    task = StyleGAN2Task(settings).to(meta_device)
    phases = Phases(task, torch.zeros(settings.batch_size, 3, 16, 16, dtype=torch.uint8))
    phases.optimizers = dict.fromkeys(phases.by_name, Still(task.parameters()))
    for phase in ("Gmain", "Greg", "Dmain", "Dreg", "EMA"):
        phases.run(phase, 0)


def test_a_phase_that_mixes_devices_or_reads_back_would_be_noticed(meta_device):
    elsewhere = torch.zeros(2, device=meta_device)
    with pytest.raises(RuntimeError, match=r"on the (same|expected) device"):
        elsewhere + torch.zeros(2)
    with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):
        elsewhere.sum().item()
