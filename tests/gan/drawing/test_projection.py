import math

import numpy as np
import pytest
import torch

from gan.drawing import projection
from gan.drawing.distances import pyramid_measure
from gan.drawing.projection import (
    ProjectionSettings,
    exploration,
    noise_penalty,
    normalise_,
    project,
    rate_factor,
    w_scale,
)
from gan.drawing.sampling import draw, styles
from gan.networks.noise import stored_noise, synthesise
from segkit.core import determinism
from tests.gan.small_networks import networks, tiny


@pytest.fixture(scope="module")
def generator():
    network = networks(tiny())["generator_ema"].requires_grad_(False)
    with torch.no_grad():
        z = torch.randn(2000, 8, generator=torch.Generator().manual_seed(5))
        network.mapping.w_avg.copy_(network.mapping.map(z).mean(dim=0))
    return network


def settings(**changes):
    return ProjectionSettings(**({"num_steps": 200, "noise": "const"} | changes))


@pytest.fixture(scope="module")
def found(generator):
    """The projection of the GAN's own image of seed 3."""
    return project(generator, draw(generator, 3), pyramid_measure, settings())


@pytest.fixture(scope="module")
def found_of_noise(generator):
    """The projection of an image that the GAN does not draw."""
    return project(generator, noise_image(generator), pyramid_measure, settings())


def distance(image_pm1, target_pm1):
    return pyramid_measure(target_pm1[None])(image_pm1[None]).item()


def mean_image(generator):
    return synthesise(generator.synthesis, generator.mapping.broadcast(generator.mapping.w_avg[None]), {})[0]


def noise_image(generator):
    """No image that the GAN draws."""
    drawn = draw(generator, 3)
    return torch.rand(drawn.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


# the paper's schedules and terms --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.0), (10, 0.2), (50, 1.0), (500, 1.0), (750, 1.0), (875, 0.5), (999, 4e-5)]
)
def test_the_learning_rate_rises_over_50_of_1000_steps_and_falls_over_the_last_250(step, rate):
    assert rate_factor(step / 1000) == pytest.approx(rate, abs=1e-5)


@pytest.mark.parametrize(("step", "scale"), [(0, 0.05), (375, 0.0125), (750, 0.0), (900, 0.0)])
def test_w_is_shaken_less_and_less_over_three_quarters(step, scale):
    assert exploration(step / 1000) == pytest.approx(scale)


def test_the_scale_of_w_is_its_root_mean_squared_distance_from_the_mean(generator):
    z = torch.randn(50_000, 8, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        w = generator.mapping.map(z).double().numpy()
    expected = math.sqrt(((w - generator.mapping.w_avg.double().numpy()) ** 2).sum(axis=1).mean())
    assert w_scale(generator.mapping, 8, torch.Generator().manual_seed(0)) == pytest.approx(expected, rel=0.03)


def penalty_by_loops(noise):
    total = 0.0
    for level in noise:
        level = level.astype(np.float64)
        while True:
            size = len(level)
            right = sum(level[y, x] * level[y, x - 1] for y in range(size) for x in range(size)) / size**2
            down = sum(level[y, x] * level[y - 1, x] for y in range(size) for x in range(size)) / size**2
            total += right**2 + down**2
            if size <= 8:
                break
            level = 2 * level.reshape(size // 2, 2, size // 2, 2).mean(axis=(1, 3))
    return total


def test_the_noise_penalty_is_that_of_the_paper():
    noise = [torch.randn(edge, edge, generator=torch.Generator().manual_seed(edge)) for edge in (4, 8, 16, 32)]
    assert noise_penalty(noise).item() == pytest.approx(penalty_by_loops([n.numpy() for n in noise]), rel=1e-4)


def test_a_picture_in_the_noise_costs_far_more_than_white_noise():
    white = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(-1, 1, 64).expand(64, 64).clone()
    normalise_([white, ramp])
    assert noise_penalty([ramp]) > 20 * noise_penalty([white])


def test_normalised_noise_has_zero_mean_and_unit_variance():
    noise = [torch.rand(16, 16) * 7 + 3]
    normalise_(noise)
    assert noise[0].mean().item() == pytest.approx(0, abs=1e-6)
    assert noise[0].square().mean().item() == pytest.approx(1, rel=1e-5)


# the search -----------------------------------------------------------------------------------------------------------


def test_an_image_of_the_gan_is_found_again_with_its_w(generator, found):
    target = draw(generator, 3)
    assert distance(found.image_pm1, target) < 0.01 * distance(mean_image(generator), target)
    w, w_avg = styles(generator, 3), generator.mapping.w_avg
    assert (found.ws - w).norm() < 0.02 * (w_avg - w).norm()


def test_another_image_is_not(generator, found, found_of_noise):
    assert distance(found_of_noise.image_pm1, noise_image(generator)) > 10 * distance(
        found.image_pm1, draw(generator, 3)
    )


def test_what_is_measured_is_recorded_step_by_step(generator, found):
    assert len(found.steps) == 200
    assert found.steps[-1].distance == pytest.approx(distance(found.image_pm1, draw(generator, 3)), rel=0.1)
    assert found.steps[-1].distance < 0.02 * found.steps[0].distance
    assert [step.learning_rate for step in found.steps] == [0.1 * rate_factor(i / 200) for i in range(200)]
    assert {step.noise_penalty for step in found.steps} == {0.0}


def test_the_image_is_that_of_the_w_that_was_found(generator, found):
    assert found.ws.shape == (1, generator.num_ws, 6)
    assert torch.equal(found.ws, found.ws[:, :1].expand_as(found.ws))
    torch.testing.assert_close(found.image_pm1, synthesise(generator.synthesis, found.ws, {})[0])


def test_with_a_w_for_each_layer_another_image_is_met_better(generator, found_of_noise):
    target = noise_image(generator)
    many = project(generator, target, pyramid_measure, settings(space="w+"))
    assert distance(many.image_pm1, target) < 0.9 * distance(found_of_noise.image_pm1, target)
    assert not torch.equal(many.ws, many.ws[:, :1].expand_as(many.ws))


def test_noise_is_searched_for_and_stays_noise(generator):
    target = draw(generator, 3, noise_mode="random")
    found = project(generator, target, pyramid_measure, settings(noise="optimise"))
    own = stored_noise(generator.synthesis)
    assert found.noise.keys() == own.keys()
    for name, value in found.noise.items():
        assert value.mean().item() == pytest.approx(0, abs=1e-5)
        assert value.square().mean().item() == pytest.approx(1, rel=1e-4)
        assert not torch.equal(value, own[name])
    assert found.steps[-1].noise_penalty < 1e-3 * found.steps[0].noise_penalty
    torch.testing.assert_close(found.image_pm1, synthesise(generator.synthesis, found.ws, found.noise)[0])


@pytest.mark.parametrize("noise", ["const", "optimise"])
def test_the_same_seed_finds_the_same_and_another_seed_another(generator, noise):
    def search(seed):
        return project(generator, draw(generator, 3), pyramid_measure, settings(num_steps=10, noise=noise, seed=seed))

    first, again, other = search(0), search(0), search(1)
    assert torch.equal(first.ws, again.ws)
    assert torch.equal(first.image_pm1, again.image_pm1)
    assert first.steps == again.steps
    assert not torch.equal(first.ws, other.ws)


def is_deterministic():
    """Whether cuDNN is to keep to one order of adding, and fp32 to all its bits."""
    cudnn = torch.backends.cudnn
    whole = not cudnn.allow_tf32 and torch.get_float32_matmul_precision() == "highest"
    return whole and cudnn.deterministic and not cudnn.benchmark


def test_on_a_gpu_search_and_result_are_deterministic_and_unrounded(generator, monkeypatch):
    seen = {"measure": [], "draw": []}

    def measure(target_pm1):
        seen["measure"].append(is_deterministic())
        return pyramid_measure(target_pm1)

    def drawn(*args):
        seen["draw"].append(is_deterministic())
        return synthesise(*args)

    on_gpu = determinism.deterministic_kernels
    monkeypatch.setattr(projection, "deterministic_kernels", lambda device: on_gpu(torch.device("cuda")))
    monkeypatch.setattr(projection, "synthesise", drawn)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        project(generator, draw(generator, 3), measure, settings(num_steps=3))
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
        assert not torch.backends.cudnn.deterministic
    finally:
        torch.set_float32_matmul_precision(before)
    # of three steps, and of where they ended
    assert seen == {"measure": [True], "draw": [True] * 4}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same_again_and_its_result_is_what_a_cpu_draws(generator):
    on_gpu = networks(tiny())["generator_ema"].requires_grad_(False)
    on_gpu.load_state_dict(generator.state_dict())
    on_gpu.to("cuda")
    wanted = settings(num_steps=20, noise="optimise")
    first, again = (project(on_gpu, draw(generator, 3), pyramid_measure, wanted) for _ in range(2))
    assert torch.equal(first.ws, again.ws)
    assert first.steps == again.steps
    noise = {name: value.cpu() for name, value in first.noise.items()}
    on_cpu = synthesise(generator.synthesis, first.ws.cpu(), noise)[0]
    torch.testing.assert_close(first.image_pm1, on_cpu, atol=1e-3, rtol=1e-3)


def test_the_generator_stays_as_it_was(generator):
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    project(generator, draw(generator, 3), pyramid_measure, settings(num_steps=3, noise="optimise"))
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_who_watches_sees_every_step(generator):
    seen = []

    def watched(numbers):
        for number in numbers:
            seen.append(number)
            yield number

    project(generator, draw(generator, 3), pyramid_measure, settings(num_steps=4), watched)
    assert seen == [0, 1, 2, 3]
