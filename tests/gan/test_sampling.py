import numpy as np
import pytest
import torch

from gan import sampling
from gan.generator import Generator
from gan.sampling import generate, latent, sample_grid
from gan.settings import GanSettings


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    settings = GanSettings(
        resolution=16, batch_size=4, channel_base=128, channel_max=16, z_dim=8, w_dim=8, num_mapping_layers=2
    )
    network = Generator(settings)
    torch.nn.init.normal_(network.mapping.w_avg)
    torch.nn.init.constant_(network.synthesis.get_submodule("b16.conv1").noise_strength, 0.5)
    return network


def _bytes(image_pm1):
    """The numbers' own bytes, in place of levels."""
    return image_pm1.contiguous().view(torch.uint8)


def test_latent_of_a_seed_is_the_one_everybody_draws():
    np.testing.assert_allclose(latent(0, 512)[0, :3], [1.76405235, 0.40015721, 0.97873798], rtol=1e-6)


def test_one_seed_is_one_image_in_any_order(generator):
    first = [generate(generator, seed, 0.7) for seed in (0, 1, 2)]
    torch.randn(100)
    second = [generate(generator, seed, 0.7) for seed in (2, 0, 1)]
    assert first[0].shape == (16, 16, 3)
    assert first[0].dtype == np.uint8
    assert all(np.array_equal(first[i], second[j]) for i, j in ((0, 1), (1, 2), (2, 0)))
    assert not np.array_equal(first[0], first[1])


def test_one_seed_is_one_image_with_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(sampling, "to_uint8", _bytes)  # rounding to levels would hide most differences
    torch.manual_seed(0)
    network = Generator(GanSettings(resolution=64, batch_size=4, channel_base=2048, channel_max=64))
    before, images = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            images.append(np.stack([generate(network, seed) for seed in range(2)]))
            assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(images[0], images[1])


def test_levels_are_scaled_and_cut(generator):
    with torch.no_grad():
        image = generator(latent(3, 8), noise_mode="const")[0]
    expected = np.clip(np.floor(image.permute(1, 2, 0).numpy() * 127.5 + 128), 0, 255)
    np.testing.assert_array_equal(generate(generator, 3), expected)


def test_no_variety_is_left_at_psi_zero(generator):
    assert np.array_equal(generate(generator, 0, 0.0), generate(generator, 1, 0.0))
    assert not np.array_equal(generate(generator, 0, 0.0, 2), generate(generator, 1, 0.0, 2))


def test_drawing_leaves_the_network_as_it_was(generator):
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    generate(generator, 0)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())


def test_grid_lays_images_out_row_by_row():
    images = [np.full((2, 2, 3), level, np.uint8) for level in range(1, 6)]
    grid = sample_grid(images)
    assert grid.shape == (4, 6, 3)
    np.testing.assert_array_equal(grid[::2, ::2, 0], [[1, 2, 3], [4, 5, 0]])
    assert sample_grid([image[..., :1] for image in images], num_columns=5).shape == (2, 10, 3)
