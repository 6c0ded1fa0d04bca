import pytest
import torch

from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from gan.settings import GanSettings, max_steps, presets_with, snapshot_steps
from gan.training.batch_split import device_count_error
from segkit.core.config import validate
from segkit.core.errors import ConfigError

# From the tables of the papers and the figures of the official program; channel_base in units of 32768. stylegan2 is
# for any resolution and takes the usual one.
TABLE = {
    "stylegan2": (256, 25000, 32, 4, 1, 0.002, 10, 10, None, 8),
    "paper256": (256, 25000, 64, 8, 0.5, 0.0025, 1, 20, None, 8),
    "paper512": (512, 25000, 64, 8, 1, 0.0025, 0.5, 20, None, 8),
    "paper1024": (1024, 25000, 32, 4, 1, 0.002, 2, 10, None, 8),
    "cifar": (32, 100000, 64, 32, 1, 0.0025, 0.01, 500, 0.05, 2),
}
COLUMNS = (
    *("resolution", "kimg", "batch_size", "mbstd_group_size", "channel_base", "learning_rate", "r1_gamma"),
    *("ema_kimg", "ema_rampup", "num_mapping_layers"),
)
OURS = ("fundus256", "fundus512")


@pytest.mark.parametrize("name", TABLE)
def test_a_preset_resolves_to_the_papers_numbers(name):
    wanted = dict(zip(COLUMNS, TABLE[name], strict=True))
    wanted["channel_base"] *= 32768
    settings = GanSettings(preset=name)
    assert {column: getattr(settings, column) for column in COLUMNS} == wanted


@pytest.mark.parametrize("name", [*TABLE, "auto"])
def test_what_the_papers_leave_alike_is_alike(name):
    settings = GanSettings(preset=name)
    common = (settings.channel_max, settings.z_dim, settings.w_dim, settings.conv_clamp)
    assert common == (512, 512, 512, 256)
    assert (settings.pl_interval, settings.r1_interval, settings.pl_batch_shrink) == (4, 16, 2)
    assert (settings.augment, settings.ada_target, settings.ada_interval, settings.ada_ramp_kimg) == (
        "ada",
        0.6,
        4,
        500,
    )
    assert (settings.augment_transforms, settings.num_low_precision_resolutions) == ("bgc", 4)
    if name != "cifar":
        regularised = (settings.pl_weight, settings.style_mixing_prob, settings.d_architecture)
        assert regularised == (2, 0.9, "resnet")


def test_cifar_leaves_out_path_lengths_mixing_and_the_skip_paths():
    settings = GanSettings(preset="cifar")
    assert (settings.pl_weight, settings.style_mixing_prob, settings.d_architecture) == (0, 0, "orig")


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128, 256, 512, 1024])
def test_auto_follows_the_rule_of_thumb_for_one_gpu(resolution):
    batch_size = max(min(min(4096 // resolution, 32), 64), 1)
    settings = GanSettings(preset="auto", resolution=resolution)
    found = {column: getattr(settings, column) for column in COLUMNS}
    assert found == {
        "resolution": resolution,
        "kimg": 25000,
        "batch_size": batch_size,
        "mbstd_group_size": min(batch_size, 4),
        "channel_base": 32768 if resolution >= 512 else 16384,
        "learning_rate": 0.002 if resolution >= 1024 else 0.0025,
        "r1_gamma": pytest.approx(0.0002 * resolution**2 / batch_size),
        "ema_kimg": batch_size * 10 / 32,
        "ema_rampup": 0.05,
        "num_mapping_layers": 2,
    }


def test_auto_at_512_is_as_it_was_published():
    settings = GanSettings(preset="auto", resolution=512)
    assert settings.r1_gamma == pytest.approx(6.5536)
    assert (settings.batch_size, settings.mbstd_group_size, settings.ema_kimg) == (8, 4, 2.5)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("num_gpus", [1, 2, 4, 8])
def test_our_presets_share_their_batch_among_any_usual_number_of_gpus(name, num_gpus):
    settings = GanSettings(preset=name)
    share = settings.batch_size // num_gpus
    per_pass = min(share, settings.images_per_pass)
    assert settings.batch_size % num_gpus == share % per_pass == per_pass % settings.mbstd_group_size == 0
    assert settings.batch_size // settings.pl_batch_shrink % num_gpus == 0
    assert device_count_error(settings, num_gpus) is None


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"),
    [
        *((name, 24_767_458, 24_001_089) for name in ("paper256", "fundus256")),
        *((name, 30_276_583, 28_982_849) for name in ("paper512", "fundus512")),
        ("paper1024", 30_370_060, 29_012_513),
    ],
)
def test_networks_of_a_preset_are_as_large_as_those_that_nvidia_publishes(name, generator, discriminator):
    settings = GanSettings(preset=name)
    with torch.device("meta"):
        networks = Generator(settings), Discriminator(settings)
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [generator, discriminator]


@pytest.mark.parametrize(
    ("sizes", "names"),
    [
        ((512, 32768, 8), ["stylegan2", "paper512", "fundus512"]),
        ((256, 16384, 8), ["paper256", "fundus256"]),
        ((1024, 32768, 8), ["stylegan2", "paper1024"]),
        ((512, 32768, 2), ["auto"]),
        ((32, 32768, 2, "orig"), ["cifar"]),
        ((32, 32768, 2), []),
        ((256, 12345, 8), []),
    ],
)
def test_presets_are_found_by_the_size_of_their_networks(sizes, names):
    assert presets_with(*sizes) == names


def test_a_preset_at_another_resolution_keeps_its_numbers():
    small = GanSettings(preset="fundus512", resolution=64)
    assert (small.resolution, small.batch_size, small.r1_gamma) == (64, 32, 2)
    assert GanSettings(preset="paper512", resolution=8).num_low_precision_resolutions == 2


@pytest.mark.parametrize("batch_size", [1, 2, 6, 12, 16, 100])
def test_a_smaller_batch_takes_groups_and_passes_that_fit_it(batch_size):
    for name in (*TABLE, *OURS, "auto"):
        settings = GanSettings(preset=name, batch_size=batch_size, pl_batch_shrink=1)
        assert batch_size % settings.mbstd_group_size == 0
        assert (settings.images_per_pass or 1) <= batch_size


def test_without_a_preset_gamma_and_average_follow_the_rule_and_the_network_is_the_large_one():
    settings = GanSettings(resolution=64)
    assert (settings.channel_base, settings.num_mapping_layers, settings.kimg) == (32768, 8, 1000)
    assert (settings.num_low_precision_resolutions, settings.images_per_pass) == (0, None)
    assert (settings.batch_size, settings.ema_kimg) == (32, 10)
    assert settings.r1_gamma == pytest.approx(0.0256)


def test_auto_takes_gamma_and_average_from_the_given_batch():
    settings = GanSettings(preset="auto", resolution=256, batch_size=16)
    assert settings.r1_gamma == pytest.approx(0.0002 * 65536 / 16)
    assert settings.ema_kimg == 5.0
    assert settings.channel_base == 16384


def test_what_is_given_wins_over_the_preset():
    settings = GanSettings(preset="paper256", batch_size=16, r1_gamma=3, ema_rampup=0.1, mbstd_group_size=2)
    assert (settings.batch_size, settings.r1_gamma, settings.ema_rampup, settings.mbstd_group_size) == (16, 3, 0.1, 2)


def test_settings_written_out_read_back_the_same():
    settings = GanSettings(preset="stylegan2", resolution=64, batch_size=8)
    assert GanSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"resolution": 48}, "resolution = 48"),
        ({"resolution": 64, "batch_size": 6, "mbstd_group_size": 4}, "mbstd_group_size 4 does not divide batch_size 6"),
        ({"preset": "paper265"}, "preset = 'paper265'"),
        ({"augment_p": 1.5}, "augment_p = 1.5"),
        ({"r1gamma": 1}, "did you mean 'r1_gamma'"),
        ({"preset": "paper256", "image_channels": 4}, "'bgc' changes colours"),
        ({"resolution": 32, "num_low_precision_resolutions": 5}, "exceeds the 4 resolutions"),
        ({"batch_size": 8, "images_per_pass": 2}, "images_per_pass 2 is no multiple of mbstd_group_size 4"),
        ({"resolution": 32, "freeze_d": 11}, "freeze_d 11 exceeds the 10 layers"),
        ({"resolution": 32, "freeze_d": 8, "d_architecture": "orig"}, "freeze_d 8 exceeds the 7 layers"),
    ],
)
def test_wrong_settings_say_what_is_wrong(raw, message):
    with pytest.raises(ConfigError, match=message):
        validate(GanSettings, raw, "gan.yaml")


def test_kimg_counts_real_images():
    settings = GanSettings(resolution=64, batch_size=8, kimg=1, snapshot_kimg=0.25)
    assert max_steps(settings) == 125
    assert snapshot_steps(settings) == 31
    assert max_steps(settings.model_copy(update={"kimg": 1.001})) == 126
