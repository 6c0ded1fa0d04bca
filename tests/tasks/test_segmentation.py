from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from segkit.core.manifest import Manifest
from segkit.data.datamodule import SegmentationDataModule, read_labelled_image, to_batch
from segkit.models.heads import Outputs
from segkit.tasks.segmentation import SegmentationTask
from segkit.tasks.settings import RuntimeSettings
from tests.reference import models_losses, tasks_schedules
from tests.tasks import small
from tests.tasks.small import fit, settings


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def batch_of(manifest, wanted):
    rows = manifest.split("train").rows[:2]
    return to_batch([read_labelled_image(row, wanted.geometry, wanted.model.stride, wanted.phases[0]) for row in rows])


def test_training_lowers_the_loss_and_finds_vessels(tmp_path, phantoms):
    kept = small.Kept()
    wanted = settings(model={"widths": (8, 16)}, epochs=15)
    _, trainer, best, curves = fit(tmp_path, phantoms, wanted, callbacks=[kept])
    assert trainer.global_step == 30
    assert np.mean(kept.losses[-4:]) < 0.75 * np.mean(kept.losses[:4])
    assert curves.rows[-1]["train/loss"] < 0.75 * curves.rows[0]["train/loss"]
    assert best.score > 0.6
    assert best.score == max(row["val/dice"] for row in kept.val)


def test_the_loss_of_a_batch_is_the_mean_over_its_images_times_their_weights(phantoms):
    wanted = settings(loss="bce-dice")
    task = SegmentationTask(wanted, wanted.phases[0])
    task.log = lambda *args, **kwargs: None
    batch = batch_of(phantoms, wanted) | {"weight": torch.tensor([0.5, 2.0])}
    loss = task.training_step(batch, 0)
    logits = task.model(batch["image"]).detach()
    arrays = [array.numpy() for array in (logits, batch["target"], batch["pixel_weight"])]
    each = [models_losses.LOSSES["bce-dice"](*(array[i, 0] for array in arrays)) for i in range(2)]
    assert loss.item() == pytest.approx((0.5 * each[0] + 2.0 * each[1]) / 2, rel=1e-5)


class TwoHeads(torch.nn.Module):
    """A network with two auxiliary heads, which are its own logits shifted."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        logits = self.network(image)
        return Outputs(logits, (logits + 1, logits - 2))


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_auxiliary_outputs_add_their_losses_times_their_weight(phantoms, weight):
    wanted = settings(model={"auxiliary_weight": weight})
    task = SegmentationTask(wanted, wanted.phases[0])
    task.model = TwoHeads(task.model)
    task.log = lambda *args, **kwargs: None
    batch = batch_of(phantoms, wanted) | {"weight": torch.tensor([0.5, 2.0])}
    loss = task.training_step(batch, 0)
    logits = task.model(batch["image"]).logits.detach().numpy()[:, 0]
    target, pixel_weight = batch["target"].numpy()[:, 0], batch["pixel_weight"].numpy()[:, 0]
    main, first, second = (
        [models_losses.LOSSES["bce-dice"](logits[i] + shift, target[i], pixel_weight[i]) for i in range(2)]
        for shift in (0, 1, -2)
    )
    per_image = [main[i] + weight * (first[i] + second[i]) for i in range(2)]
    assert loss.item() == pytest.approx((0.5 * per_image[0] + 2.0 * per_image[1]) / 2, rel=1e-5)
    with torch.no_grad():
        assert torch.equal(task(batch["image"]), task.model(batch["image"]).logits)


@pytest.mark.parametrize("name", ["sa-unet", "unet"])
def test_a_network_of_three_classes_trains_on_multiclass_phantoms(tmp_path, name):
    rows = small.draw(tmp_path / "data", ["train"] * 4 + ["val"] * 2, several=True)
    kept = small.Kept()
    model = {"name": name, "widths": (8, 16)} | ({"attention_size": None} if name == "unet" else {})
    wanted = settings(model=model, epochs=12)
    task, _, best, _ = fit(tmp_path / "run", rows, wanted, callbacks=[kept])
    assert task.model.head.out_channels == 3
    assert np.mean(kept.losses[-4:]) < 0.85 * np.mean(kept.losses[:4])
    last = kept.val[-1]
    for metric in ("dice", "auroc", "iou"):
        classes = [last[f"val/{metric}/{one}"] for one in ("background", "vessel", "disc")]
        assert last[f"val/{metric}"] == pytest.approx(np.nanmean(classes), rel=1e-6)
    assert best.score == max(row["val/dice"] for row in kept.val)
    assert last["val/auroc/vessel"] > 0.6


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "step", "step_epochs": [2]}, np.repeat([0.01, 0.001], [4, 4])),
        ({"name": "cosine"}, tasks_schedules.cosine(0.01, 0.0, 8)),
        ({"warmup_epochs": 2}, np.append(tasks_schedules.warmup(0.01, 4), [0.01] * 4)),
    ],
    ids=["step", "cosine", "warm-up"],
)
def test_every_step_has_the_schedules_rate(tmp_path, phantoms, schedule, expected):
    kept = small.Kept()
    fit(tmp_path, phantoms, settings(epochs=4, schedule=schedule), callbacks=[kept])
    np.testing.assert_allclose(kept.rates, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_the_optimiser_is_the_one_asked_for(name, kind):
    wanted = settings(optimizer={"name": name, "learning_rate": 0.02, "weight_decay": 0.03}, ema_decay=0.9)
    task = SegmentationTask(wanted, wanted.phases[0])
    task._trainer = SimpleNamespace(estimated_stepping_batches=10)
    optimizer = task.configure_optimizers()["optimizer"]
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.02, 0.03)
    assert {id(one) for one in group["params"]} == {id(one) for one in task.model.parameters()}


def test_momentum_is_that_of_sgd() -> None:
    chosen = settings(optimizer={"name": "sgd", "learning_rate": 0.02, "momentum": 0.9})
    task = SegmentationTask(chosen, chosen.phases[0])
    task._trainer = SimpleNamespace(estimated_stepping_batches=10)
    assert task.configure_optimizers()["optimizer"].param_groups[0]["momentum"] == 0.9
    with pytest.raises(ValidationError):
        settings(optimizer={"name": "adam", "momentum": 0.9})


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_averaged_weights_are_validated_and_kept(tmp_path, phantoms, norm):
    kept = small.Kept()
    wanted = settings(model={"norm": norm}, epochs=3, ema_decay=0.8)
    task, _, best, _ = fit(tmp_path, phantoms, wanted, callbacks=[kept])
    averaged = {name: value.double().numpy() for name, value in kept.weights[0].items()}
    learned = dict(task.model.named_parameters())
    for weights in kept.weights[1:]:
        for name, value in weights.items():
            new = value.double().numpy()
            averaged[name] = 0.8 * averaged[name] + 0.2 * new if name in learned else new
    for name, value in task.averaged.module.state_dict().items():
        np.testing.assert_allclose(value.numpy(), averaged[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert best.weights.keys() == task.model.state_dict().keys()
    validate(task, best, phantoms, wanted)
    assert not same(best.weights, kept.weights[2 * best.epoch + 1])


def validate(task, best, manifest, wanted):
    """That the kept weights, in a new network, give the score they were kept for."""
    fresh = SegmentationTask(wanted.model_copy(update={"phases": settings().phases}), settings().phases[0])
    fresh.load_weights(best.weights)
    fresh.eval()
    for row in manifest.split("val").rows:
        with torch.no_grad():
            fresh.validation_step(to_batch([read_labelled_image(row, wanted.geometry, 2, wanted.phases[0])]), 0)
    assert float(fresh.val_metrics.compute()[wanted.monitor[4:]]) == pytest.approx(best.score, abs=1e-6)


def test_without_averaging_the_best_epochs_own_weights_are_kept(tmp_path, phantoms):
    kept = small.Kept()
    wanted = settings(epochs=5, optimizer={"learning_rate": 0.05})
    task, _, best, _ = fit(tmp_path, phantoms, wanted, callbacks=[kept])
    assert task.best_model is task.model
    scores = [row["val/dice"] for row in kept.val]
    assert best.epoch == int(np.argmax(scores))
    assert same(best.weights, kept.weights[2 * best.epoch + 1])
    validate(task, best, phantoms, wanted)


def test_given_weights_are_loaded_into_the_averaged_network_too():
    wanted = settings(ema_decay=0.9)
    donor, task = (SegmentationTask(wanted, wanted.phases[0]) for _ in range(2))
    task.load_weights(donor.model.state_dict())
    image = torch.rand(1, 3, 16, 16)
    donor.eval(), task.eval()
    assert torch.equal(task(image), donor.model(image.contiguous(memory_format=torch.channels_last)))
    assert same(task.model.state_dict(), donor.model.state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        task.load_weights({})


def test_training_in_bf16_follows_fp32(tmp_path, phantoms):
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        kept = small.Kept()
        runtime = RuntimeSettings(accelerator="cpu", precision=precision)
        task, *_ = fit(tmp_path / precision, phantoms, settings(epochs=4), runtime=runtime, callbacks=[kept])
        assert {parameter.dtype for parameter in task.parameters()} == {torch.float32}
        losses.append(kept.losses)
    assert losses[1] != losses[0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.1)


def test_dropblocks_noise_depends_on_seed_and_step_alone(phantoms):
    wanted = settings(model={"drop_prob": 0.3})
    batch = batch_of(phantoms, wanted)

    def logits(seed, step):
        task = SegmentationTask(wanted, wanted.phases[0], seed)
        task.load_weights(weights)
        task._trainer = SimpleNamespace(global_step=step, global_rank=0)
        torch.rand(step + 3)
        with torch.no_grad():
            task.on_train_batch_start(batch, 0)
            return task.model(batch["image"])

    weights = SegmentationTask(wanted, wanted.phases[0]).model.state_dict()
    assert torch.equal(logits(0, 5), logits(0, 5))
    assert not torch.equal(logits(0, 5), logits(0, 6))
    assert not torch.equal(logits(0, 5), logits(1, 5))


RESUMED = {
    "model": {"norm": "batch", "drop_prob": 0.2},
    "epochs": 4,
    "augmentation": "paper",
    "ema_decay": 0.9,
    "schedule": {"name": "cosine", "warmup_epochs": 1},
    "optimizer": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.01},
}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, phantoms, stop):
    wanted = settings(**RESUMED)
    whole, at_end, best, curves = fit(tmp_path / "whole", phantoms, wanted)
    half, at_stop, *_ = fit(tmp_path / "half", phantoms, wanted, stop_after=stop)
    assert at_stop.global_step == 2 * stop
    assert not same(half.state_dict(), whole.state_dict())
    path = tmp_path / "half" / "kept" / "last.ckpt"
    resumed, trainer, best_again, curves_again = fit(tmp_path / "half", phantoms, wanted, ckpt_path=path)
    assert trainer.global_step == 8
    assert same(resumed.state_dict(), whole.state_dict())
    ours, theirs = (run.optimizers[0].state_dict()["state"] for run in (trainer, at_end))
    assert all(same(ours[key], theirs[key]) for key in theirs)
    assert same(best_again.weights, best.weights)
    assert (best_again.score, best_again.epoch) == (best.score, best.epoch)
    assert curves_again.rows == curves.rows
    assert [row["epoch"] for row in curves.rows] == [0, 1, 2, 3]
    written = [(tmp_path / run / "curves.csv").read_text() for run in ("half", "whole")]
    assert written[0] == written[1]
    assert written[0].count("\n") == 5


def test_a_run_killed_after_its_last_epoch_is_finished_by_nothing_more(tmp_path, phantoms):
    wanted = settings(**RESUMED | {"epochs": 2})
    whole, _, best, curves = fit(tmp_path, phantoms, wanted)
    path = tmp_path / "kept" / "last.ckpt"
    resumed, trainer, best_again, curves_again = fit(tmp_path, phantoms, wanted, ckpt_path=path, seed=5)
    assert trainer.global_step == 4
    assert same(resumed.state_dict(), whole.state_dict())
    assert same(best_again.weights, best.weights)
    assert curves_again.rows == curves.rows


def test_two_runs_of_one_seed_are_one_run_and_of_two_are_not(tmp_path, phantoms):
    wanted = settings(**RESUMED | {"epochs": 1})
    first, again, other = (fit(tmp_path, phantoms, wanted, seed=seed)[0].state_dict() for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def test_loader_processes_do_not_change_what_is_learned(tmp_path, phantoms):
    wanted = settings(epochs=1, augmentation="strong")
    helped = small.FP32.model_copy(update={"num_workers": 2})
    alone, with_help = (fit(tmp_path, phantoms, wanted, runtime=one)[0].state_dict() for one in (small.FP32, helped))
    assert same(alone, with_help)


def test_a_control_trains_on_real_images_for_the_students_steps(tmp_path, phantoms):
    phase = settings(epochs=1, data="mixed", num_synthetic=6, synthetic_share=0.6).phases[0]
    data = SegmentationDataModule(phantoms, Manifest(()), phase, settings().geometry, 2, 0, synthetic_replaced=True)
    data.setup("fit")
    assert len(data.train_dataloader()) == 5
