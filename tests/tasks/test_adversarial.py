"""Training a network against a discriminator."""

import numpy as np
import pytest
import torch

from segkit.core.config import validate
from segkit.core.errors import ConfigError
from segkit.models.heads import probabilities
from segkit.tasks.adversarial import AdversarialSegmentationTask, discriminator_loss, generator_loss
from segkit.tasks.settings import AdversarialSettings, TrainSettings
from tests.tasks import small

MODEL = {
    "name": "sagan-unet",
    "widths": (4, 8, 8),
    "attention_level": 1,
    "norm": "group",
    "drop_prob": None,
    "attention_size": None,
}


def settings(loss="hinge", weight=1.0, **phase):
    adversarial = AdversarialSettings(
        weight=weight, loss=loss, learning_rate=0.004, widths=(4, 8, 8), attention_level=1
    )
    return small.settings(model=MODEL, **phase).model_copy(update={"adversarial": adversarial})


def fit(folder, manifest, wanted, **options):
    return small.fit(folder, manifest, wanted, kind=AdversarialSegmentationTask, **options)


class Sides(small.Kept):
    """Also keeps the discriminator's weights before and after each step, and its learning rate."""

    def __init__(self):
        super().__init__()
        self.before, self.after, self.discriminator_rates = [], [], []

    def on_train_batch_start(self, trainer, task, *_):
        super().on_train_batch_start(trainer, task)
        self.discriminator_rates.append(trainer.optimizers[0].param_groups[1]["lr"])
        self.before.append({name: value.clone() for name, value in task.named_parameters()})

    def on_train_batch_end(self, trainer, task, *arguments):
        super().on_train_batch_end(trainer, task, *arguments)
        self.after.append({name: value.clone() for name, value in task.named_parameters()})


@pytest.mark.parametrize("loss", ["hinge", "bce"])
def test_both_networks_take_a_step_each_at_its_own_rate_and_the_network_learns(tmp_path, phantoms, loss):
    kept = Sides()
    wanted = settings(loss, weight=0.1, epochs=8, schedule={"name": "step", "step_epochs": [7]})
    _, trainer, best, curves = fit(tmp_path, phantoms, wanted, callbacks=[kept])
    assert trainer.global_step == 16
    np.testing.assert_allclose(kept.rates, [0.01] * 14 + [0.001] * 2)
    np.testing.assert_allclose(kept.discriminator_rates, [0.004] * 14 + [0.0004] * 2)
    for before, after in zip(kept.before, kept.after, strict=True):
        moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert moved == {"model", "discriminator"}
    assert curves.rows[-1]["train/loss"] < curves.rows[0]["train/loss"]
    assert {"train/adversarial", "train/discriminator"} <= set(curves.rows[0])
    assert best.weights.keys() == kept.weights[-1].keys()  # the network's alone


def a_batch(num_classes):
    torch.manual_seed(1)
    index = torch.randint(num_classes, (2, 8, 8)) if num_classes > 1 else torch.randint(2, (2, 8, 8))
    target = (
        torch.nn.functional.one_hot(index, num_classes).movedim(-1, 1).float()
        if num_classes > 1
        else index[:, None].float()
    )
    region = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    region[..., :3] = False
    if num_classes > 1:
        target[:, :, 5] = 0  # a row of no class
    return {
        "image": torch.rand(2, 3, 8, 8),
        "target": target,
        "region": region,
        "pixel_weight": region.float(),
        "weight": torch.tensor([0.5, 2.0]),
    }


def task_of(wanted, num_classes):
    from segkit.core.classes import VESSEL, Classes

    classes = Classes(kind="multiclass", names=("a", "b", "c")) if num_classes == 3 else VESSEL
    torch.manual_seed(0)
    task = AdversarialSegmentationTask(wanted, wanted.phases[0], 0, classes)
    task.log = task.log_dict = lambda *args, **kwargs: None
    return task


@pytest.mark.parametrize("num_classes", [1, 3])
@pytest.mark.parametrize("loss", ["hinge", "bce"])
def test_each_network_receives_the_gradient_of_its_own_loss_alone(num_classes, loss):
    wanted, batch = settings(loss, weight=0.3), a_batch(num_classes)
    task = task_of(wanted, num_classes).double().eval()  # without power iterations, which change the norms
    batch = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    task.training_step(batch, 0).backward()

    counted = batch["region"].double()
    if num_classes > 1:
        counted[:, :, 5] = 0
    segmentation = probabilities(task.model(batch["image"])) * counted
    fake_logits = task.discriminator(batch["image"], segmentation)
    _, own = task.segmentation_loss(batch)
    network_loss = own + 0.3 * (generator_loss(fake_logits, loss) * batch["weight"]).mean()
    parameters = list(task.model.parameters())
    expected = torch.autograd.grad(network_loss, parameters, allow_unused=True, retain_graph=True)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)

    real_logits = task.discriminator(batch["image"], batch["target"] * counted)
    values = discriminator_loss(real_logits, task.discriminator(batch["image"], segmentation.detach()), loss)
    parameters = list(task.discriminator.parameters())
    expected = torch.autograd.grad((values * batch["weight"]).mean(), parameters, allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in expected)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_a_resumed_training_ends_with_the_same_two_networks(tmp_path, phantoms, one_thread):
    wanted = settings(epochs=4, ema_decay=0.8)
    whole, _, best, _ = fit(tmp_path / "whole", phantoms, wanted)
    fit(tmp_path / "part", phantoms, wanted, stop_after=2)
    resumed, _, again, _ = fit(tmp_path / "part", phantoms, wanted, ckpt_path=tmp_path / "part" / "kept" / "last.ckpt")
    expected = whole.state_dict()
    assert any(name.startswith("discriminator.") for name in expected)
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert all(torch.equal(value, best.weights[name]) for name, value in again.weights.items())


@pytest.mark.parametrize("section", [{"phases": [{"optimizer": {"name": "sgd"}}]}, {"model": {"name": "ridge-filter"}}])
def test_it_needs_adam_and_a_network_that_is_trained(section):
    with pytest.raises(ConfigError):
        validate(TrainSettings, {"adversarial": {}} | section, "f")
