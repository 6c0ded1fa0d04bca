"""What the host reads back while a GAN trains: on a GPU it waits for the device each time."""

from types import SimpleNamespace

import pytest
import torch

from gan.settings import max_steps
from gan.training.data import GanImages
from gan.training.task import StyleGAN2Task
from segkit.tasks import trainer
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning.*")
def test_training_reads_back_only_rows_of_curves_and_what_ada_adjusts_by(tmp_path, reads, monkeypatch):
    monkeypatch.setattr("segkit.core.progress.time", SimpleNamespace(monotonic=lambda: 0.0))  # no report is ever due
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
    assert len(reads) == needed


def test_clock_and_chance_are_logged_from_the_host():
    task = StyleGAN2Task(tiny()).to("meta")
    task.latest = {"gan/loss_g": torch.zeros([], device="meta")}
    logged = {}
    task.log = lambda name, value, **_: logged.update({name: value.device.type})
    task._log_progress()
    assert logged == {"gan/loss_g": "meta", "gan/ada_p": "cpu", "gan/kimg": "cpu"}
