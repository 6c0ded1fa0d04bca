import pytest

from gan.settings import GanSettings, max_steps, preset, snapshot_steps
from segkit.core.config import validate
from segkit.core.errors import ConfigError


def test_paper_presets_have_the_papers_values():
    settings = GanSettings(preset="paper512", resolution=512)
    assert (settings.batch_size, settings.mbstd_group_size, settings.channel_base) == (64, 8, 32768)
    assert (settings.learning_rate, settings.r1_gamma, settings.ema_kimg, settings.ema_rampup) == (
        0.0025,
        0.5,
        20,
        None,
    )
    assert settings.num_mapping_layers == 8


def test_auto_at_512_follows_the_rule_of_thumb_for_one_gpu():
    values = preset("auto", 512)
    assert values["batch_size"] == 8
    assert values["r1_gamma"] == pytest.approx(6.5536)
    assert values["ema_kimg"] == 2.5
    assert (values["mbstd_group_size"], values["learning_rate"], values["num_mapping_layers"]) == (4, 0.0025, 2)


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
        ({"resolution": 32, "num_low_precision_resolutions": 5}, "exceeds the 4 resolutions"),
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
