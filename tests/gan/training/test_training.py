"""What an iteration does, against the papers' formulas written again and against finite differences."""

import pytest
import torch

from gan.settings import max_steps
from gan.training.data import BatchStream
from gan.training.draws import BatchDraws
from gan.training.task import StyleGAN2Task
from tests.gan.train_together import SEED, Recording, fit, images, tiny
from tests.reference import gan_training as reference


@pytest.mark.parametrize("ema_rampup", [None, 0.5])
def test_iterations_are_those_of_the_papers(tmp_path, ema_rampup):
    """Latents, style mixing, both losses and penalties, Adam, running averages and the chance, for nine iterations."""
    settings = tiny(
        batch_size=8,
        kimg=0.072,
        ema_kimg=0.02,
        ema_rampup=ema_rampup,
        augment_transforms="bgc",
        ada_ramp_kimg=0.3,
    )
    task, _ = fit(settings, tmp_path)
    start = StyleGAN2Task(settings, SEED)

    def augment(images, chance, numbers):
        start.augment_pipe.set_p(chance)
        return start.augment_pipe(images, numbers)

    num_noise = sum(start.generator.synthesis.noise_sizes)

    def synthesise(ws, draws):
        seeds = draws.seeds(len(ws))
        rows = [torch.randn(num_noise, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
        return start.generator.synthesis(ws, torch.stack(rows))

    told = reference.Training(
        settings,
        start.generator,
        start.discriminator,
        start.generator_ema,
        augment,
        synthesise,
        lambda iteration, phase: BatchDraws(SEED, iteration, phase),
    )
    for batch in BatchStream(images(settings), settings, SEED, max_steps(settings)):
        told.iterate(batch)
    for name, network in task.networks.items():
        expected = dict(getattr(start, name).named_parameters())
        # weights of the mapping are some hundreds
        torch.testing.assert_close(dict(network.named_parameters()), expected, rtol=1e-6, atol=2e-5)
    for generator in (task.generator, task.generator_ema):
        torch.testing.assert_close(generator.mapping.w_avg, told.w_avg, rtol=0, atol=1e-6)
    torch.testing.assert_close(task.pl_mean, told.length_mean)
    assert task.augment_pipe.chance == pytest.approx(told.chance, abs=1e-6)
    assert told.chance != 0.3


def directional(value, parameters, step=1e-6):
    """For each parameter a random direction, and how fast `value()` changes along it, by central differences."""
    torch.manual_seed(0)
    slopes = {}
    for name, parameter in parameters:
        start, direction = parameter.detach().clone(), torch.randn_like(parameter)
        direction /= direction.norm()
        found = []
        for signed in (step, -step):
            with torch.no_grad():
                parameter.copy_(start + signed * direction)
            found.append(value())
        with torch.no_grad():
            parameter.copy_(start)
        slopes[name] = direction, (found[0] - found[1]) / (2 * step)
    return slopes


def assert_gradients(parameters, slopes):
    """The gradients left at the parameters are those slopes."""
    scale = max(abs(slope) for _, slope in slopes.values())
    assert scale > 0
    for name, parameter in parameters:
        direction, slope = slopes[name]
        # what the penalty does not depend on, such as the last bias, has none
        found = 0.0 if parameter.grad is None else (parameter.grad * direction).sum().item()
        assert found == pytest.approx(slope, rel=1e-4, abs=1e-6 * scale), name


def gradients_of(task, name, real_pm1, draws):
    """Add the gradients of a phase to the networks; what the phase logs."""
    phase = {phase.name: phase for phase in task.phases}[name]
    return phase.gradients(real_pm1, draws)


def in_double(settings):
    """A task in float64 in which everything matters: noise strengths and biases too."""
    task = StyleGAN2Task(settings, SEED).double()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in task.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                parameter.add_(0.1 * torch.randn_like(parameter))
    task.pl_mean = torch.tensor(0.2)
    return task


@pytest.mark.parametrize("passes", [None, 2])
def test_r1_gradient_through_augmentation_agrees_with_finite_differences(passes):
    """The penalty is on the gradient by the photographs as they are before augmentation, which moves all of them."""
    settings = tiny(
        augment="fixed",
        augment_transforms="bgcfnc",
        augment_p=1.0,
        r1_gamma=3.0,
        images_per_pass=passes,
        mbstd_group_size=2,
    )
    task, real = in_double(settings), images(settings)[:4].double() / 127.5 - 1
    numbers = BatchDraws(SEED, 5, 3).augment(4)
    assert (task.augment_pipe(real, numbers) != real).flatten(1).any(dim=1).all()

    def penalty():
        def discriminate(image):
            return task.discriminator(task.augment_pipe(image, numbers))

        return reference.r1_penalty(discriminate, real, gamma=3.0, create_graph=False).item()

    parameters = list(task.discriminator.named_parameters())
    slopes = directional(lambda: 3 * penalty(), parameters)  # every third iteration, thrice the weight
    stats = gradients_of(task, "Dreg", real.clone(), BatchDraws(SEED, 5, 3))
    assert_gradients(parameters, slopes)
    assert stats["gan/r1"].item() == pytest.approx(penalty() * 2 / 3.0)


@pytest.mark.parametrize("passes", [None, 1])
def test_path_length_gradient_agrees_with_finite_differences(passes):
    """Through the mapping network too, with mixed styles, on half of the batch, towards the mean before the step."""
    settings = tiny(train_noise="const", style_mixing_prob=1.0, images_per_pass=passes, mbstd_group_size=1)
    task = in_double(settings)
    generator = task.generator
    draws = BatchDraws(SEED, 4, 1)
    z, other = draws.normal(2, 8).double(), draws.normal(2, 8).double()
    cutoff = draws.mixing_cutoff(generator.num_ws, 1.0)
    noise = draws.normal(2, 3, 16, 16)
    assert 0 < cutoff < generator.num_ws

    def lengths():
        below, above = generator.mapping.map(z), generator.mapping.map(other)
        ws = torch.stack([below] * cutoff + [above] * (generator.num_ws - cutoff), dim=1)
        return reference.lengths_of_paths(lambda ws: generator.synthesis(ws, "const"), ws, noise, create_graph=False)

    parameters = list(generator.named_parameters())
    weight = 2 * 2.0  # every second iteration, twice the weight
    slopes = directional(lambda: weight * (lengths() - 0.2).square().mean().item(), parameters)
    stats = gradients_of(task, "Greg", torch.empty(0), BatchDraws(SEED, 4, 1))
    assert_gradients(parameters, slopes)
    mean = lengths().mean().item()
    assert stats["gan/path_length"].item() == pytest.approx(mean)
    assert task.pl_mean.item() == pytest.approx(0.99 * 0.2 + 0.01 * mean)


def test_what_is_not_finite_in_a_gradient_is_replaced_before_the_optimiser_sees_it():
    task = StyleGAN2Task(tiny())
    bias = task.generator.mapping.fc0.bias
    bias.grad = torch.tensor([float("nan"), float("inf"), -float("inf"), 2.0, 0.0, 0.0, 0.0, 0.0])
    before = bias.detach().clone()
    task._update(task.generator, torch.optim.SGD(task.generator.parameters(), lr=1.0))
    torch.testing.assert_close(before - bias.detach(), torch.tensor([0.0, 1e5, -1e5, 2.0, 0.0, 0.0, 0.0, 0.0]))
    assert bias.grad is None


def test_a_path_length_that_is_not_finite_does_not_spoil_the_mean_of_all_later_ones():
    task = StyleGAN2Task(tiny(train_noise="const"), SEED)
    task.pl_mean.fill_(0.2)
    task.generator.synthesis.b4.const.data[0, 0, 0] = float("inf")
    stats = gradients_of(task, "Greg", torch.empty(0), BatchDraws(SEED, 4, 1))
    assert not torch.isfinite(stats["gan/path_length"])
    assert task.pl_mean == torch.tensor(0.2)


def test_the_chance_moves_by_a_step_each_interval_and_stays_within_its_bounds(tmp_path):
    """Each step is interval x batch / ramp images towards the target, by the signs since the step before."""
    for target, start in ((-1.0, 0.9), (1.0, 0.1)):
        settings = tiny(kimg=0.06, ada_interval=3, ada_ramp_kimg=0.2, ada_target=target, augment_p=start)
        task, _ = fit(settings, tmp_path, task=Recording(settings, SEED))
        chances = [float(p) for p in task.seen["p"]]
        signs = torch.stack(task.seen["sign"]).view(5, 3).mean(dim=1)
        expected, p = [], start
        for overfitting in signs.tolist():
            expected += [p, p]
            p = min(1.0, max(0.0, p + (0.06 if overfitting > target else -0.06 if overfitting < target else 0.0)))
            expected.append(p)
        assert chances == pytest.approx(expected, abs=1e-6)
        assert chances[-1] == (1.0 if target < 0 else 0.0)
