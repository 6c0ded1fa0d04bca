import re
from itertools import product

import numpy as np
import pytest
import torch

from gan.checkpoints import weights
from gan.checkpoints.adaptation import adapt
from gan.settings import GanSettings
from gan.training.task import StyleGAN2Task
from segkit.core.errors import RequestError, WeightsError
from tests.gan.small_networks import copies, networks, same, tiny
from tests.gan.train_together import fit
from tests.reference import gan_numpy as reference

BOTH = ("resolution", "image_channels")


def adapted(found, wanted):
    """Networks built with `found`, and what they became in networks built with `wanted`."""
    old, new = networks(found, seed=1), networks(wanted, seed=2)
    states = [{name: net.state_dict() for name, net in nets.items()} for nets in (old, new)]
    adaptation = adapt(states[0], found, wanted, states[1])
    for name, network in new.items():
        network.load_state_dict(adaptation.networks[name])
    return old, new, adaptation


@torch.no_grad()
def drawn(generator, num_ws=None, seed=0):
    """Pictures of the generator with other styles in each layer; `num_ws` of them are drawn."""
    ws = torch.randn(2, num_ws or generator.num_ws, 6, generator=torch.Generator().manual_seed(seed))
    return generator.synthesis(ws[:, : generator.num_ws], "const").double().numpy()


@torch.no_grad()
def logits(discriminator, images):
    return discriminator(torch.from_numpy(images).float()).numpy()


def images(channels, resolution=16, seed=3):
    return np.random.default_rng(seed).uniform(-1, 1, (4, channels, resolution, resolution))


def shown(image, channels):
    """The images (n, c, h, w) with so many channels, by the names of these."""
    letters = {1: "y", 2: "ya", 3: "rgb", 4: "rgba"}
    have = dict(zip(letters[image.shape[1]], np.moveaxis(image, 1, 0), strict=True))
    if "y" not in have:
        have["y"] = 0.299 * have["r"] + 0.587 * have["g"] + 0.114 * have["b"]
    have.setdefault("a", np.zeros_like(have["y"]))
    return np.stack([have.get(letter, have["y"]) for letter in letters[channels]], axis=1)


# other channels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), [pair for pair in product((1, 2, 3, 4), repeat=2) if pair[0] != pair[1]])
def test_pictures_show_as_before_in_other_channels_and_are_judged_as_before(source, target):
    old, new, adaptation = adapted(tiny(image_channels=source), tiny(image_channels=target))
    for name in ("generator", "generator_ema"):
        before = drawn(old[name])
        assert np.ptp(before) > 1
        np.testing.assert_allclose(drawn(new[name]), shown(before, target), atol=1e-5)
    photographs = images(target)
    before = logits(old["discriminator"], shown(photographs, source))
    assert np.ptp(before) > 0.01
    np.testing.assert_allclose(logits(new["discriminator"], photographs), before, rtol=1e-4, atol=1e-5)
    assert f"image_channels {source} -> {target}" in adaptation.summary()


def test_gray_is_the_luminance_of_what_was_drawn_and_judged_like_a_gray_photograph_in_colours():
    old, new, adaptation = adapted(tiny(), tiny(image_channels=1))
    red, green, blue = np.moveaxis(drawn(old["generator_ema"]), 1, 0)
    gray = drawn(new["generator_ema"])
    np.testing.assert_allclose(gray[:, 0], 0.299 * red + 0.587 * green + 0.114 * blue, atol=1e-5)
    photograph = images(1)
    in_colours = np.concatenate([photograph] * 3, axis=1)
    np.testing.assert_allclose(
        logits(new["discriminator"], photograph), logits(old["discriminator"], in_colours), rtol=1e-4, atol=1e-5
    )
    touched = {name for name, outcome in adaptation.outcomes["discriminator"].items() if outcome != "copied"}
    assert touched == {"b16.fromrgb.weight"}
    touched = {name for name, outcome in adaptation.outcomes["generator"].items() if outcome == "adapted"}
    assert touched == {f"synthesis.b{r}.torgb.{kind}" for r in (4, 8, 16) for kind in ("weight", "bias")}


# another resolution ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), [(8, 16), (16, 32), (8, 32)])
def test_a_larger_network_draws_the_old_picture_upsampled(source, target):
    old, new, adaptation = adapted(tiny(resolution=source), tiny(resolution=target))
    for name in ("generator", "generator_ema"):
        num_ws = new[name].num_ws
        expected = drawn(old[name], num_ws)
        for _ in range((target // source).bit_length() - 1):
            expected = reference.upfirdn(expected, 2 * reference.TAPS, up=2, pad=(2, 1))
        np.testing.assert_allclose(drawn(new[name], num_ws), expected, atol=1e-5)
    outcomes = adaptation.outcomes["generator_ema"]
    assert outcomes[f"synthesis.b{target}.torgb.weight"] == outcomes[f"synthesis.b{target}.torgb.bias"] == "zero"
    assert outcomes[f"synthesis.b{target}.conv0.weight"] == "anew"
    assert adaptation.outcomes["discriminator"][f"b{source}.fromrgb.weight"] == "left out"
    assert adaptation.outcomes["discriminator"][f"b{target}.conv0.weight"] == "anew"


@pytest.mark.parametrize(("source", "target"), [(16, 8), (32, 16), (32, 8)])
def test_a_smaller_network_draws_what_the_old_one_had_at_its_resolution(source, target):
    old, new, adaptation = adapted(tiny(resolution=source), tiny(resolution=target))
    for name in ("generator", "generator_ema"):
        seen = []
        block = old[name].synthesis.get_submodule(f"b{target}")
        block.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output[1].numpy()))
        num_ws = old[name].num_ws
        drawn(old[name], num_ws)
        np.testing.assert_allclose(drawn(new[name], num_ws), seen[0], atol=1e-5)
    anew = {name for name, outcome in adaptation.outcomes["discriminator"].items() if outcome == "anew"}
    assert anew == {f"b{target}.fromrgb.{kind}" for kind in ("weight", "bias", "resample_filter")}


@pytest.mark.parametrize("changes", [{"resolution": 32}, {"resolution": 8}, {"resolution": 8, "image_channels": 1}])
def test_layers_without_a_counterpart_keep_the_new_networks_numbers_and_all_others_the_old_ones(changes):
    wanted = tiny(**changes)
    fresh = networks(wanted, seed=2)["discriminator"].state_dict()
    old, new, adaptation = adapted(tiny(), wanted)
    before, after = old["discriminator"].state_dict(), new["discriminator"].state_dict()
    for name, outcome in adaptation.outcomes["discriminator"].items():
        if outcome == "left out":
            assert name not in after
        else:
            assert torch.equal(after[name], {"anew": fresh, "copied": before}[outcome][name])


def test_resolution_and_channels_change_together():
    old, new, adaptation = adapted(tiny(), tiny(resolution=32, image_channels=1))
    num_ws = new["generator"].num_ws
    upsampled = reference.upfirdn(drawn(old["generator"], num_ws), 2 * reference.TAPS, up=2, pad=(2, 1))
    np.testing.assert_allclose(drawn(new["generator"], num_ws), shown(upsampled, 1), atol=1e-5)
    assert len(adaptation.changes) == 2


def test_nothing_is_touched_where_nothing_differs():
    old, new, adaptation = adapted(tiny(), tiny(init_adapt=BOTH))
    assert adaptation.changes == ()
    assert {outcome for outcomes in adaptation.outcomes.values() for outcome in outcomes.values()} == {"copied"}
    assert all(same(old[name].state_dict(), new[name]) for name in old)


# asking for it --------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    nets = networks(tiny(), seed=1)
    weights.save(tmp_path / "w", nets, tiny())
    return tmp_path / "w", nets


def refusal(folder, wanted, error=WeightsError):
    """The message of the refusal to load; nothing may have been loaded by then."""
    others = networks(wanted, seed=4)
    before = copies(others)
    with pytest.raises(error) as caught:
        weights.load_all(folder, wanted, others)
    assert all(same(before[name], network) for name, network in others.items())
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 32}, "resolution is 16 there and 32 in the settings. * init_adapt: [resolution]"),
        ({"image_channels": 1}, "image_channels is 3 there and 1 in the settings. * init_adapt: [image_channels]"),
        (
            {"image_channels": 1, "resolution": 8},
            "resolution is 16 there and 8 in the settings; image_channels is 3 there and 1 in the settings. "
            "* init_adapt: [resolution, image_channels]",
        ),
        (
            {"image_channels": 1, "resolution": 8, "init_adapt": ["resolution"]},
            "image_channels is 3 there and 1 in the settings. * init_adapt: [resolution, image_channels]",
        ),
        (
            {"resolution": 32, "channel_base": 256, "init_adapt": BOTH},
            "channel_base, channel_max is 128, 16 there and 256, 16 in the settings. Change the settings to",
        ),
        (
            {"resolution": 8, "channel_max": 8, "init_adapt": BOTH},
            "channel_base, channel_max is 128, 16 there and 128, 8 in the settings. Change the settings to",
        ),
        ({"w_dim": 8, "init_adapt": BOTH}, "w_dim is 6 there and 8 in the settings. Change the settings to"),
        ({"num_mapping_layers": 8, "init_adapt": BOTH}, "num_mapping_layers is 2 there and 8 in the settings. Change"),
    ],
)
def test_only_what_init_adapt_names_may_differ(saved, changes, message):
    error = refusal(saved[0], tiny(**changes))
    assert re.search(re.escape(message).replace(r"\*", ".*"), error), error


def test_the_refusal_names_the_presets_at_the_wanted_resolution():
    found = GanSettings(preset="paper256")
    wide = GanSettings(preset="fundus512", init_adapt=["resolution"])
    with pytest.raises(WeightsError, match=r"channel_max is 16384, 512 there and 32768, 512 .* values$"):
        weights.check_fit(found, wide, "w")
    shallow = GanSettings(preset="auto", resolution=512, init_adapt=["resolution"])
    with pytest.raises(WeightsError, match="presets stylegan2, paper512, fundus512 at resolution 512"):
        weights.check_fit(GanSettings(preset="paper1024"), shallow, "w")
    with pytest.raises(WeightsError, match=r"presets paper256, fundus256 at resolution 256\. Or .*\[resolution\]"):
        weights.check_fit(found, GanSettings(preset="fundus512"), "w")
    weights.check_fit(found, GanSettings(preset="fundus256", resolution=512, init_adapt=["resolution"]), "w")


@pytest.mark.parametrize("changes", [{"resolution": 8}, {"resolution": 32}, {"image_channels": 4}])
def test_freeze_d_keeps_no_layer_that_begins_anew(saved, changes):
    error = refusal(saved[0], tiny(**changes, init_adapt=BOTH, freeze_d=1), RequestError)
    assert f"b{changes.get('resolution', 16)}.fromrgb" in error


def test_a_damaged_network_is_refused_before_it_is_adapted(saved):
    folder, nets = saved
    state = nets["discriminator"].state_dict()
    del state["b16.skip.weight"]
    weights.write(folder, {"discriminator": state}, tiny())
    assert "b16.skip.weight is missing" in refusal(folder, tiny(resolution=8, init_adapt=["resolution"]))


def test_the_adaptation_is_printed_once_and_returned(saved, capsys, monkeypatch):
    folder, _ = saved
    wanted = tiny(resolution=8, image_channels=1, init_adapt=BOTH)
    adaptation = weights.load_all(folder, wanted, networks(wanted, seed=4))
    out = capsys.readouterr().out
    assert out.count("adapted\n") == 1
    assert adaptation.summary() in out
    for line in (
        "image_channels 3 -> 1: the generator draws the luminance",
        "resolution 16 -> 8: b16 left out",
        "discriminator: 16 copied, 3 anew, 12 left out",
    ):
        assert line in out
    monkeypatch.setattr(weights, "rank", lambda: 1)
    weights.load_all(folder, wanted, networks(wanted, seed=4))
    weights.load_all(folder, tiny(), networks(tiny(), seed=4))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"resolution": 8},
        {"resolution": 32, "image_channels": 1},
        {"image_channels": 4, "augment_transforms": "bg"},
        {"image_channels": 1, "freeze_d": 3},
    ],
)
def test_adapted_networks_train(saved, tmp_path, changes):
    settings = tiny(**changes, init_from=saved[0], init_adapt=BOTH, kimg=0.012, augment_p=0.2)
    start = StyleGAN2Task(settings, seed=3)
    start.on_fit_start()
    task, trainer = fit(settings, tmp_path)
    assert trainer.global_step == 3  # what begins at zero keeps others from learning in the first
    for name, network in task.networks.items():
        before = start.networks[name].state_dict()
        assert all(torch.isfinite(value).all() for value in network.state_dict().values())
        assert [key for key, value in network.named_parameters() if torch.equal(value, before[key])] == []


def test_a_frozen_layer_keeps_its_adapted_weights(saved, tmp_path):
    folder, nets = saved
    settings = tiny(image_channels=1, freeze_d=1, init_from=folder, init_adapt=BOTH, kimg=0.004)
    task, _ = fit(settings, tmp_path)
    summed = nets["discriminator"].state_dict()["b16.fromrgb.weight"].sum(dim=1, keepdim=True)
    kept = task.discriminator.state_dict()["b16.fromrgb.weight"]
    torch.testing.assert_close(kept, summed / 3**0.5)  # equalised learning rate divides by the root of the channels
