"""The noise of generated images in training: whose it is, and what it is like."""

import pytest
import torch

from gan.networks.generator import Generator
from gan.networks.noise import noise_of_images
from gan.training.draws import BatchDraws
from tests.gan.train_together import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def generator():
    """Of 16x16 images, whose noise matters."""
    torch.manual_seed(0)
    generator = Generator(tiny()).requires_grad_(False)
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.5)
    return generator


def test_an_images_noise_is_a_function_of_its_seed_alone(generator):
    rows = noise_of_images(generator.synthesis, torch.tensor([5, 6, 5]), CPU)
    assert torch.equal(rows[0], rows[2])
    assert torch.equal(rows[1:2], noise_of_images(generator.synthesis, torch.tensor([6]), CPU))


def test_noise_is_standard_normal_and_independent_between_images_and_layers(generator):
    seeds = BatchDraws(0, 0).seeds(2000)
    noise = noise_of_images(generator.synthesis, seeds, CPU)
    assert noise.shape == (2000, 4**2 + 2 * 8**2 + 2 * 16**2)
    assert noise.mean().abs() < 0.005
    assert noise.var().item() == pytest.approx(1, abs=0.01)
    assert noise.pow(4).mean().item() == pytest.approx(3, abs=0.03)
    covariance = noise.T @ noise / 2000 - torch.eye(noise.shape[1])
    assert covariance.abs().max() < 0.15  # 6.7 standard deviations
    assert (noise[1:] * noise[:-1]).mean(dim=1).abs().max() < 0.2


def test_each_image_and_each_layer_takes_its_own_part_of_the_noise(generator):
    ws = torch.randn(2, generator.num_ws, 8)
    noise = noise_of_images(generator.synthesis, torch.tensor([5, 6]), CPU)
    images = generator.synthesis(ws, noise)
    torch.testing.assert_close(images[1:], generator.synthesis(ws[1:], noise[1:]))
    first = 0
    for size in generator.synthesis.noise_sizes:
        changed = noise.clone()
        changed[1, first : first + size].neg_()
        differs = (generator.synthesis(ws, changed) - images).abs().amax(dim=(1, 2, 3))
        assert differs[0] == 0
        assert differs[1] > 1e-3
        first += size


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_and_passes_together_have_the_seeds_of_the_batch(world):
    whole = BatchDraws(3, 7, 1).seeds(16)
    for rank in range(world):
        of_rank = BatchDraws(3, 7, 1, rank=rank, world=world).seeds(16)
        for first in range(2):
            assert torch.equal(of_rank[first::2], whole[rank::world][first::2])


def test_each_iteration_and_phase_has_seeds_of_its_own():
    keys = [(3, 7, 1), (3, 7, 2), (3, 8, 1), (4, 7, 1)]
    assert len(torch.unique(torch.cat([BatchDraws(*key).seeds(8) for key in keys]))) == 8 * len(keys)
