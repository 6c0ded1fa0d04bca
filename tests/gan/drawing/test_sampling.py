import numpy as np
import pytest
import torch

from gan.checkpoints import weights
from gan.drawing import sampling
from gan.drawing.sampling import (
    draw,
    draw_styles,
    generate,
    latent,
    levels_8bit,
    levels_16bit,
    read_generator,
    sample_grid,
    styles,
)
from gan.drawing.seed_task import SeedTask, seeds_loader
from gan.settings import GanSettings, SamplingSettings
from segkit.core.errors import WeightsError
from tests.gan.small_networks import networks, states, tiny
from tests.reference import gan_official_pickle as official

NOISE_MODES = ("const", "random", "none")


@pytest.fixture(scope="module")
def generator():
    network = networks(tiny())["generator_ema"]
    torch.nn.init.constant_(network.synthesis.get_submodule("b16.conv1").noise_strength, 0.5)
    return network.requires_grad_(False)


def test_latent_of_a_seed_is_the_one_everybody_draws():
    np.testing.assert_allclose(latent(0, 512)[0, :3], [1.76405235, 0.40015721, 0.97873798], rtol=1e-6)


@pytest.mark.parametrize("noise_mode", NOISE_MODES)
def test_one_seed_is_one_image_in_any_order(generator, noise_mode):
    first = [draw(generator, seed, 0.7, None, noise_mode) for seed in (0, 1, 2)]
    torch.randn(100)
    second = [draw(generator, seed, 0.7, None, noise_mode) for seed in (2, 0, 1)]
    assert first[0].shape == (3, 16, 16)
    assert all(torch.equal(first[i], second[j]) for i, j in ((0, 1), (1, 2), (2, 0)))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("noise_mode", NOISE_MODES)
def test_one_seed_is_one_image_in_any_batch_and_share(generator, noise_mode):
    task = SeedTask(generator, SamplingSettings(noise_mode=noise_mode))
    alone = {seed: draw(generator, seed, 0.7, None, noise_mode) for seed in range(5)}
    for seeds, batch_size in ((range(5), 5), (range(5), 2), (range(1, 5, 2), 1)):
        for batch in seeds_loader(seeds, batch_size):
            found = task.predict_step(batch, 0)
            assert found["seeds"].tolist() == batch.tolist()
            for seed, image_pm1 in zip(batch.tolist(), found["images_pm1"], strict=True):
                assert torch.equal(image_pm1, alone[seed])


@pytest.mark.parametrize("noise_mode", NOISE_MODES)
def test_one_seed_is_one_image_with_any_number_of_threads(noise_mode):
    network = networks(GanSettings(resolution=64, batch_size=4, channel_base=2048, channel_max=64))["generator_ema"]
    before, images = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            images.append(torch.stack([draw(network, seed, noise_mode=noise_mode) for seed in range(2)]))
            assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(images[0], images[1])


def test_the_modes_differ_by_the_noise_alone(generator):
    const, drawn, none = (draw(generator, 3, noise_mode=mode) for mode in NOISE_MODES)
    assert not torch.equal(const, drawn)
    assert not torch.equal(const, none)
    quiet = networks(tiny())["generator_ema"]
    for name, parameter in quiet.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.zeros_(parameter)
    const, drawn, none = (draw(quiet, 3, noise_mode=mode) for mode in NOISE_MODES)
    assert torch.equal(const, none)
    assert torch.equal(drawn, none)


def test_random_noise_is_numpys_of_seed_and_layer_put_where_the_networks_own_noise_is(generator):
    other = networks(tiny())["generator_ema"]
    other.load_state_dict(generator.state_dict())
    names = [f"b{edge}.conv{i}" for edge in (4, 8, 16) for i in (0, 1) if (edge, i) != (4, 0)]
    for place, name in enumerate(names):
        layer = other.synthesis.get_submodule(name)
        noise = np.random.default_rng([7, place]).standard_normal(layer.noise_const.shape, np.float32)
        layer.noise_const.copy_(torch.from_numpy(noise))
    assert torch.equal(draw(generator, 7, noise_mode="random"), draw(other, 7, noise_mode="const"))


def test_random_noise_of_styles_needs_a_seed(generator):
    ws = styles(generator, 0)
    with pytest.raises(ValueError, match="noise_seed"):
        draw_styles(generator, ws, "random")
    assert torch.equal(draw_styles(generator, ws, "random", noise_seed=0), draw(generator, 0, noise_mode="random"))


def test_levels_are_scaled_and_cut(generator):
    with torch.no_grad():
        image = generator(latent(3, 8), noise_mode="const")[0]
    expected = np.clip(np.floor(image.permute(1, 2, 0).numpy() * 127.5 + 128), 0, 255)
    drawn = generate(generator, 3)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, expected)


def test_16_bit_levels_are_the_nearest_ones_of_the_float_image_and_not_scaled_8_bit():
    image = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    levels = levels_16bit(image)
    assert levels.dtype == np.uint16
    exact = np.clip((image.double().numpy().transpose(1, 2, 0) + 1) / 2, 0, 1) * 65535
    assert np.abs(levels - exact).max() <= 0.5 + 1e-9
    assert levels.min() == 0
    assert levels.max() == 65535
    assert len(np.unique(levels % 257)) > 100
    # one 8-bit level is 257 16-bit ones, and both are rounded
    assert np.abs(levels / 257 - levels_8bit(image)).max() <= 0.5 + 0.5 / 257 + 1e-4


def test_no_variety_is_left_at_psi_zero(generator):
    assert np.array_equal(generate(generator, 0, 0.0), generate(generator, 1, 0.0))
    assert not np.array_equal(generate(generator, 0, 0.0, 2), generate(generator, 1, 0.0, 2))


@pytest.mark.parametrize("noise_mode", NOISE_MODES)
def test_drawing_leaves_the_network_and_the_random_numbers_as_they_were(generator, noise_mode):
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    state = torch.get_rng_state()
    generate(generator, 0, noise_mode=noise_mode)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_generator_is_read_from_a_folder_and_from_an_official_file_alike(tmp_path):
    nets = networks(tiny())
    weights.save(tmp_path / "ours", {"generator_ema": nets["generator_ema"]}, tiny())
    (tmp_path / "theirs.pkl").write_bytes(official.dumps(official.snapshot(*states(nets))))
    found = [read_generator(tmp_path / name) for name in ("ours", "theirs.pkl")]
    for settings, generator in found:
        assert (settings.resolution, settings.image_channels) == (16, 3)
        assert torch.equal(draw(generator, 5), draw(nets["generator_ema"], 5))
        assert not any(parameter.requires_grad for parameter in generator.parameters())


def test_a_generator_is_read_to_compute_in_full_precision(tmp_path):
    low = tiny(num_low_precision_resolutions=2)
    nets = networks(low)
    weights.save(tmp_path / "low", {"generator_ema": nets["generator_ema"]}, low)
    full = networks(tiny())["generator_ema"]
    full.load_state_dict(nets["generator_ema"].state_dict())
    drawn = draw(read_generator(tmp_path / "low")[1], 5)
    assert torch.equal(drawn, draw(full, 5))
    assert not torch.equal(drawn, draw(nets["generator_ema"], 5))


def test_weights_that_do_not_fit_their_settings_are_refused(tmp_path):
    weights.save(tmp_path, {"generator_ema": networks(tiny())["generator_ema"]}, tiny(w_dim=7))
    with pytest.raises(WeightsError):
        read_generator(tmp_path)


def test_grid_lays_images_out_row_by_row():
    images = [np.full((2, 2, 3), level, np.uint8) for level in range(1, 6)]
    grid = sample_grid(images)
    assert grid.shape == (4, 6, 3)
    np.testing.assert_array_equal(grid[::2, ::2, 0], [[1, 2, 3], [4, 5, 0]])
    assert sample_grid([image[..., :1] for image in images], num_columns=5).shape == (2, 10, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("noise_mode", NOISE_MODES)
def test_a_gpu_draws_the_image_of_a_seed_again_and_nearly_as_a_cpu_does(generator, noise_mode):
    on_gpu = networks(tiny())["generator_ema"]
    on_gpu.load_state_dict(generator.state_dict())
    on_gpu.to(sampling.fastest_device())
    first, again = (draw(on_gpu, 3, noise_mode=noise_mode) for _ in range(2))
    assert torch.equal(first, again)
    torch.testing.assert_close(first, draw(generator, 3, noise_mode=noise_mode), atol=1e-3, rtol=1e-3)
