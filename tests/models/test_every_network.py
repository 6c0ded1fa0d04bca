"""What every network of the table does."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.fidelity.features import _encoder_levels
from segkit.core.config import validate
from segkit.core.errors import ConfigError, RequestError
from segkit.models import build_model
from segkit.models.batch_norm import fold_batch_norm
from segkit.models.heads import as_outputs
from segkit.models.settings import MODELS
from tests.models.tiny_networks import TINY, tiny

every_network = pytest.mark.parametrize("settings", TINY.values(), ids=TINY)


@every_network
@pytest.mark.parametrize(("image_channels", "num_channels"), [(1, 1), (3, 4), (5, 2)])
def test_training_and_prediction_return_logits_of_the_images_size(settings, image_channels, num_channels):
    network = build_model(tiny(type(settings), image_channels=image_channels), num_channels)
    height, width = 4 * settings.stride, 5 * settings.stride
    image = torch.rand(2, image_channels, height, width)
    training = as_outputs(network.train()(image))
    for logits in (training.logits, *training.auxiliary, network.eval()(image)):
        assert logits.shape == (2, num_channels, height, width)
        assert logits.isfinite().all()


@every_network
def test_folding_batch_norms_changes_no_logit(settings):
    network = build_model(settings).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                values.uniform_(0.5, 2)
    image = torch.rand(1, 3, 4 * settings.stride, 4 * settings.stride)
    with torch.inference_mode():
        expected = network(image)
        torch.testing.assert_close(fold_batch_norm(network)(image), expected, rtol=1e-3, atol=1e-4)


@every_network
def test_auxiliary_outputs_have_weights_and_exist_in_training_only(settings):
    network = build_model(settings).train()
    image = torch.rand(2, 3, 4 * settings.stride, 4 * settings.stride)
    auxiliary = as_outputs(network(image)).auxiliary
    weights = settings.output_weights(len(auxiliary))
    assert len(weights) == 1 + len(auxiliary)
    assert min(weights) > 0
    assert isinstance(network.eval()(image), torch.Tensor)


@every_network
def test_the_size_must_be_a_multiple_of_the_stride(settings):
    network = build_model(settings).eval()
    for call in (network, network.features):
        with pytest.raises(RequestError, match=f"multiples of {settings.stride}"):
            call(torch.rand(1, 3, 4 * settings.stride, 4 * settings.stride + settings.stride // 2))


@every_network
def test_features_are_maps_of_modules_that_never_grow_from_level_to_level(settings):
    network = build_model(settings).eval()
    side = 8 * settings.stride
    maps = network.features(torch.rand(1, 3, side, side))
    assert len(maps) >= 3
    sides = [level.shape[2] for level in maps]
    assert sides == sorted(sides, reverse=True)
    # the fidelity stage reads these maps by hooks on the modules that return them
    levels = _encoder_levels(network, settings.image_channels, side)
    assert [channels for _, channels in levels] == [level.shape[1] for level in maps]


@every_network
def test_prediction_is_deterministic_and_independent_of_the_batch(settings):
    network = build_model(settings).eval()
    images = torch.rand(2, 3, 4 * settings.stride, 4 * settings.stride)
    with torch.inference_mode():
        both = network(images)
        assert torch.equal(both, network(images))
        torch.testing.assert_close(both[:1], network(images[:1]), rtol=1e-4, atol=1e-5)


@every_network
def test_every_parameter_receives_a_gradient(settings):
    torch.manual_seed(0)
    network = build_model(settings, 2).train()
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            parameter.data.fill_(0.5)  # self-attention begins as the identity, with gamma 0
    result = as_outputs(network(torch.rand(2, 3, 8 * settings.stride, 8 * settings.stride)))
    sum(logits.square().mean() for logits in (result.logits, *result.auxiliary)).backward()
    # A ReLU may by chance be off everywhere for one of the few channels; no gradient at all is a layer left out.
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    still = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
    assert len(still) <= 0.02 * len(list(network.parameters())), still


@every_network
def test_the_weights_survive_a_file(settings, tmp_path: Path):
    network, other = (build_model(settings, 3).eval() for _ in range(2))
    image = torch.rand(1, 3, 4 * settings.stride, 4 * settings.stride)
    assert not torch.equal(network(image), other(image))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(network(image), other(image))


@every_network
def test_the_same_seed_gives_the_same_first_weights(settings):
    def first_weights():
        torch.manual_seed(3)
        return build_model(settings).state_dict()

    again = first_weights()
    assert all(torch.equal(value, again[name]) for name, value in first_weights().items())


def test_every_network_that_is_trained_is_tested_here():
    assert {type(settings) for settings in TINY.values()} == {kind for kind in MODELS if kind.trainable}


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.model_fields["name"].default)
def test_the_source_of_the_idea_and_the_licence_of_its_code_are_given(kind):
    assert kind.paper
    assert kind.authors_code
    assert kind.licence
    with pytest.raises(ConfigError):
        validate(kind, {"paper": "mine"}, "f")
