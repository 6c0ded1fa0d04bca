import pytest
import torch
from lightning.pytorch.callbacks import Callback

from gan.bench.worker import Phases
from gan.checkpoints import weights
from gan.drawing.sampling import generate, to_uint8
from gan.drawing.seed_task import SeedTask, seeds_loader
from gan.settings import SamplingSettings
from gan.training.losses import lazy_adam
from gan.training.task import StyleGAN2Task
from segkit.core.errors import RequestError, WeightsError
from tests.gan.train_together import SEED, Recording, differing, distance, fit, keep, resumable, tiny

# runs here resume from checkpoints that another run's callback wrote
pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`:UserWarning")


class Logged(Callback):
    """Keeps what was logged at each iteration."""

    def __init__(self):
        self.rows = []

    def on_train_batch_end(self, trainer, *args):
        self.rows.append({key: float(value) for key, value in trainer.callback_metrics.items()})


def test_training_runs_by_the_kimg_clock_and_logs_every_quantity(tmp_path):
    logged = Logged()
    task, trainer = fit(tiny(), tmp_path, [logged])
    assert trainer.global_step == 8
    assert task.num_images_seen == 32
    assert [row["gan/kimg"] for row in logged.rows] == pytest.approx([0.004 * i for i in range(1, 9)])
    names = {"loss_g", "loss_d", "r1", "path_length", "ada_p", "kimg"}
    assert logged.rows[0].keys() == {f"gan/{name}" for name in names}
    assert logged.rows[-1].keys() == {f"gan/{name}" for name in names | {"overfitting"}}
    # the lazy quantities keep their value until the next time
    r1 = [row["gan/r1"] for row in logged.rows]
    assert r1[0] == r1[2] != r1[3] == r1[5] != r1[6]
    path_length = [row["gan/path_length"] for row in logged.rows]
    assert path_length[0] == path_length[1] != path_length[2]


def test_the_discriminator_learns_to_tell_photographs_apart(tmp_path):
    logged = Logged()
    settings = tiny(kimg=0.24, augment="none", learning_rate=0.01, train_noise="const", pl_interval=8, r1_interval=8)
    task, _ = fit(settings, tmp_path, [logged])
    losses = [row["gan/loss_d"] for row in logged.rows]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    start = StyleGAN2Task(settings, seed=3)
    for name in ("generator", "discriminator", "generator_ema"):
        moved = distance(getattr(task, name).state_dict(), getattr(start, name).state_dict())
        assert moved > 1e-3, name
    assert distance(task.generator_ema.state_dict(), task.generator.state_dict()) > 1e-4
    assert all(torch.isfinite(value).all() for value in task.state_dict().values())


RICH = {
    "batch_size": 8,
    "mbstd_group_size": 2,
    "images_per_pass": 4,
    "kimg": 0.064,
    "x_flips": True,
    "freeze_d": 2,
    "num_low_precision_resolutions": 2,
    "augment_transforms": "bgcfnc",
    "ada_ramp_kimg": 0.2,
}
"""Everything that may happen in a training besides the usual."""


@pytest.mark.parametrize("settings", [tiny(), tiny(**RICH)], ids=["usual", "rich"])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, settings):
    whole, _ = fit(settings, tmp_path, [keep(tmp_path / "whole")], task=Recording(settings, SEED))
    chances = list(map(float, whole.seen["p"]))
    assert chances[2] == pytest.approx(0.3) != chances[3] != chances[7]
    fit(settings, tmp_path, [keep(tmp_path / "half")], steps=3)
    for checkpoint in ("half/step=3", "whole/step=6"):
        path, step = tmp_path / f"{checkpoint}.ckpt", int(checkpoint[-1])
        resumed, trainer = fit(settings, tmp_path, ckpt_path=path, task=Recording(settings, SEED))
        assert trainer.global_step == 8
        trainer.save_checkpoint(tmp_path / "end.ckpt")
        end = resumable(tmp_path / "end.ckpt")
        assert differing(resumable(tmp_path / "whole" / "step=8.ckpt"), end) == []
        for kind in ("batch", "p"):
            assert len(resumed.seen[kind]) == 8 - step
            assert all(map(torch.equal, whole.seen[kind][step:], resumed.seen[kind]))
    for part in ("generator.", "discriminator.", "generator_ema.", "augment_pipe.p", "pl_mean", "sign_sum"):
        assert any(key.startswith(f"/state_dict/{part}") for key in end)
    for number, network in enumerate((whole.generator, whole.discriminator)):
        moments = [key for key in end if key.startswith(f"/optimizer_states/{number}/") and key.endswith("exp_avg_sq")]
        assert len(moments) == len(list(network.parameters()))


def test_a_finished_run_can_be_made_longer(tmp_path):
    longer, _ = fit(tiny(kimg=0.048), tmp_path)
    fit(tiny(), tmp_path, [keep(tmp_path, 4)])
    resumed, trainer = fit(tiny(kimg=0.048), tmp_path, ckpt_path=tmp_path / "step=8.ckpt")
    assert trainer.global_step == 12
    assert differing(longer.state_dict(), resumed.state_dict()) == []


def test_another_seed_is_another_run(tmp_path):
    start = StyleGAN2Task(tiny(), seed=3).state_dict()
    assert differing(start, StyleGAN2Task(tiny(), seed=3).state_dict()) == []
    assert "generator.synthesis.b4.const" in differing(start, StyleGAN2Task(tiny(), seed=4).state_dict())


def test_accumulating_passes_gives_the_gradient_of_the_whole_batch(tmp_path):
    settings = {"batch_size": 8, "mbstd_group_size": 2}
    whole, _ = fit(tiny(**settings), tmp_path)
    passes, _ = fit(tiny(**settings, images_per_pass=2), tmp_path)
    assert distance(whole.state_dict(), passes.state_dict()) < 1e-4


def test_optimisers_are_corrected_for_the_lazy_steps():
    for_g, for_d = StyleGAN2Task(tiny(learning_rate=0.0025)).configure_optimizers()
    for optimizer, interval in ((for_g, 2), (for_d, 3)):
        expected = lazy_adam([torch.nn.Parameter(torch.zeros(1))], 0.0025, interval).defaults
        assert optimizer.defaults == expected
    for_g, for_d = StyleGAN2Task(tiny(pl_weight=0.0, r1_gamma=0.0)).configure_optimizers()
    assert for_g.param_groups[0]["lr"] == for_d.param_groups[0]["lr"] == 0.0025


def test_without_regularisation_there_are_only_the_main_phases(tmp_path):
    logged = Logged()
    task, _ = fit(tiny(pl_weight=0.0, r1_gamma=0.0, augment="none"), tmp_path, [logged])
    assert {"gan/r1", "gan/path_length"}.isdisjoint(logged.rows[-1])
    assert task.pl_mean == 0
    assert logged.rows[-1]["gan/ada_p"] == 0


def test_a_gradient_that_is_not_finite_does_no_lasting_harm(tmp_path):
    class Poison(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if batch_idx == 2:
                weight = pl_module.discriminator.b4.out.weight
                weight.register_hook(lambda grad: torch.full_like(grad, float("nan")))

    task, _ = fit(tiny(), tmp_path, [Poison()])
    assert all(torch.isfinite(value).all() for value in task.state_dict().values())


def test_frozen_layers_keep_their_weights(tmp_path):
    task, _ = fit(tiny(freeze_d=3), tmp_path)
    start = StyleGAN2Task(tiny(freeze_d=3), seed=3)
    for name in ("fromrgb", "conv0", "conv1"):
        assert torch.equal(
            task.discriminator.get_submodule(f"b16.{name}").weight,
            start.discriminator.get_submodule(f"b16.{name}").weight,
        )
    assert not torch.equal(
        task.discriminator.get_submodule("b16.skip").weight, start.discriminator.get_submodule("b16.skip").weight
    )


def test_training_starts_from_given_weights_and_a_resumed_run_does_not_need_them(tmp_path):
    donor = StyleGAN2Task(tiny(), seed=9)
    weights.save(tmp_path / "donor", donor.networks, tiny())
    settings = tiny(init_from=tmp_path / "donor", learning_rate=1e-9)
    task, _ = fit(settings, tmp_path, [keep(tmp_path / "kept", 2)])
    assert distance(task.discriminator.state_dict(), donor.discriminator.state_dict()) < 1e-6
    (tmp_path / "donor" / "settings.json").unlink()
    with pytest.raises(WeightsError):
        fit(settings, tmp_path)
    resumed, _ = fit(settings, tmp_path, ckpt_path=tmp_path / "kept" / "step=2.ckpt")
    assert differing(task.state_dict(), resumed.state_dict()) == []


def test_a_batch_that_cannot_be_shared_or_grouped_is_refused_before_training(tmp_path):
    with pytest.raises(RequestError):
        fit(tiny(batch_size=12, images_per_pass=8), tmp_path)


def test_low_precision_trains(tmp_path):
    task, _ = fit(tiny(num_low_precision_resolutions=2), tmp_path)
    assert all(torch.isfinite(value).all() for value in task.state_dict().values())
    assert {parameter.dtype for parameter in task.parameters()} == {torch.float32}


def test_predicting_draws_the_image_of_each_seed(tmp_path):
    task, trainer = fit(tiny(), tmp_path)
    seed_task = SeedTask(task.generator_ema, SamplingSettings())
    outputs = trainer.predict(seed_task, seeds_loader([5, 0, 7], batch_size=2), return_predictions=True)
    seeds = torch.cat([output["seeds"] for output in outputs])
    images = to_uint8(torch.cat([output["images_pm1"] for output in outputs]))
    assert seeds.tolist() == [5, 0, 7]
    for seed, image in zip(seeds.tolist(), images, strict=True):
        assert torch.equal(image, torch.from_numpy(generate(task.generator_ema, seed, 0.7)))


def strides_at_each_step(task, batch):
    """Of what an optimiser steps with: each parameter, its gradient and the two averages."""
    found = []

    def look(optimizer, *_):
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for parameter in [parameter for parameter in parameters if parameter.grad is not None]:
            averages = [optimizer.state[parameter][name] for name in ("exp_avg", "exp_avg_sq")]
            found.append([each.stride() for each in (parameter, parameter.grad, *averages)])

    phases = Phases(task, batch)
    for optimizer in set(phases.optimizers.values()):
        optimizer.register_step_post_hook(look)
    for phase in ("Gmain", "Greg", "Dmain", "Dreg"):
        phases.run(phase, 0)
    return found


@pytest.mark.parametrize("augment", ["none", "fixed"])
def test_adam_finds_gradients_and_averages_laid_out_as_the_parameters(augment):
    """The fused kernels walk through memory in its order: on GPUs they refuse other strides, on CPUs they err."""
    settings = tiny(augment=augment, augment_p=0.5, augment_transforms="bgcfnc", num_low_precision_resolutions=2)
    batch = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    found = strides_at_each_step(StyleGAN2Task(settings), batch)
    assert len(found) > 50
    assert [strides for strides in found if len(set(strides)) > 1] == []
