"""What the host reads back while a GAN trains: on a GPU it waits for the device each time."""

from types import SimpleNamespace

import pytest
import torch

from gan.settings import max_steps
from gan.training.data import GanImages
from gan.training.task import StyleGAN2Task
from segkit.tasks import callbacks, trainer
from segkit.tasks.callbacks import Curves
from segkit.tasks.settings import RuntimeSettings
from tests.gan.train_together import SEED, images, tiny


@pytest.fixture
def reads(monkeypatch):
    """Grows with each number that is read out of a tensor."""
    found = []
    for name in ("item", "__float__"):
        function = getattr(torch.Tensor, name)

        def read(tensor, function=function):
            found.append(tensor)
            return function(tensor)

        monkeypatch.setattr(torch.Tensor, name, read)
    return found


@pytest.fixture(params=[False, True], ids=["log", "terminal"])
def terminal(request, monkeypatch):
    """Whether somebody watches."""
    for module in (callbacks, trainer):
        monkeypatch.setattr(module, "has_terminal", lambda: request.param)
    return request.param


@pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning.*")
def test_training_reads_back_only_rows_of_curves_and_what_ada_adjusts_by(tmp_path, reads, terminal):
    settings = tiny(kimg=0.08, ada_interval=4, augment_transforms="color")
    runtime = RuntimeSettings(accelerator="cpu", precision="32-true", tracker="none")
    curves = Curves(tmp_path / "curves.csv", every_n_steps=5)
    runner = trainer.build_trainer(
        runtime, tmp_path, "gan", callbacks=[curves], max_steps=max_steps(settings), max_epochs=-1
    )
    task = StyleGAN2Task(settings, SEED)
    task.discriminator(task.generator(torch.zeros(4, 8)))  # the first call caches the clamp's bounds
    reads.clear()
    runner.fit(task, GanImages(images(settings), settings, SEED))
    assert len(curves.rows) == 4
    num_cells = sum(len(row) - len({"epoch", "step"}) for row in curves.rows)
    num_adjustments = 20 // 4
    # an adjustment reads the overfitting, and the new chance as fp32 rounds it
    needed = num_cells + 2 * num_adjustments
    shown = {"gan/ada_p", "gan/kimg"} if terminal else set()
    assert runner.progress_bar_metrics.keys() == shown
    if not terminal:
        assert len(reads) == needed


@pytest.mark.parametrize("bar", [None, object()], ids=["log", "terminal"])
def test_what_a_bar_shows_never_lies_on_the_device(bar):
    task = StyleGAN2Task(tiny()).to("meta")
    task.latest = {"gan/loss_g": torch.zeros([], device="meta")}
    logged = {}
    task.log = lambda name, value, prog_bar=False, **_: logged.update({name: (value.device.type, prog_bar)})
    task.trainer = SimpleNamespace(progress_bar_callback=bar)
    task._log_progress()
    on_cpu = ("cpu", bar is not None)
    assert logged == {"gan/loss_g": ("meta", False), "gan/ada_p": on_cpu, "gan/kimg": on_cpu}
