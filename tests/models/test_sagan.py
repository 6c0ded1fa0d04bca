import numpy as np
import pytest
import torch
from torch import nn

from segkit.core.config import validate
from segkit.core.errors import ConfigError
from segkit.models import build_model
from segkit.models.attention import SelfAttention
from segkit.models.heads import probabilities
from segkit.models.sagan import Discriminator
from segkit.models.settings import DiscriminatorSettings, SAGANUNetSettings
from segkit.tasks.adversarial import discriminator_loss, generator_loss
from tests.reference.models_self_attention import self_attention

SMALL = {"widths": (4, 6, 8), "attention_level": 1}


def small_networks(num_channels, image_channels=3):
    torch.manual_seed(0)
    generator = build_model(SAGANUNetSettings(image_channels=image_channels, norm="group", **SMALL), num_channels)
    return generator, Discriminator(DiscriminatorSettings(**SMALL), image_channels, num_channels)


def test_attention_equals_the_papers_equations():
    torch.manual_seed(0)
    layer = SelfAttention(16).eval()
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    features = torch.randn(2, 16, 3, 4)
    matrices = [
        conv.weight.detach().double().numpy()[:, :, 0, 0] for conv in (layer.query, layer.key, layer.value, layer.out)
    ]
    expected = np.stack([self_attention(image.double().numpy(), *matrices, 0.7) for image in features])
    np.testing.assert_allclose(layer(features).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_attention_begins_as_the_identity():
    features = torch.randn(1, 16, 4, 4)
    assert torch.equal(SelfAttention(16)(features), features)


def test_no_layer_of_the_discriminator_and_no_block_of_the_generator_stretches_more_than_once():
    generator, discriminator = small_networks(2)
    for network in (generator, discriminator):
        for _ in range(30):  # one power iteration each
            image = torch.rand(1, 3, 8, 8)
            logits = network(image) if network is generator else network(image, torch.rand(1, 2, 8, 8))
        assert logits.isfinite().all()
        layers = {
            name: module
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        }
        free = [name for name, module in layers.items() if not hasattr(module, "parametrizations")]
        assert free == (["head.2"] if network is generator else [])
        for name, module in layers.items():
            if name not in free:
                weight = module.weight.detach()
                if isinstance(module, nn.ConvTranspose2d):
                    weight = weight.transpose(0, 1)
                largest = np.linalg.svd(weight.flatten(1).numpy(), compute_uv=False)[0]
                assert largest == pytest.approx(1, abs=0.02), name


def test_the_default_generator_has_about_the_size_of_the_published_one():
    with torch.device("meta"):
        network = build_model(SAGANUNetSettings(), 4)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(25.18e6, rel=1e-3)


def test_attention_is_at_64_positions_a_side_of_an_image_of_256():
    network = build_model(SAGANUNetSettings(widths=(4, 8, 12, 16)), 4).eval()
    shapes = []
    for module in network.modules():
        if isinstance(module, SelfAttention):
            module.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    with torch.inference_mode():
        network(torch.rand(1, 3, 256, 256))
    assert shapes == [(1, 8, 64, 64), (1, 12, 64, 64)]


@pytest.mark.parametrize("size", [(8, 8), (7, 13), (1, 3), (37, 20)])
def test_the_discriminator_returns_one_logit_per_image_of_any_size(size):
    _, discriminator = small_networks(3)
    assert discriminator(torch.rand(2, 3, *size), torch.rand(2, 3, *size)).shape == (2,)


def gradient_through_the_discriminator(num_channels, segmentation_of, loss="hinge"):
    """Largest gradient of the generator's weights from the adversarial loss alone."""
    generator, discriminator = small_networks(num_channels)
    image = torch.rand(2, 3, 8, 8)
    segmentation = segmentation_of(probabilities(generator(image)))
    generator_loss(discriminator(image, segmentation), loss).mean().backward()
    return max(0.0 if p.grad is None else float(p.grad.abs().max()) for p in generator.parameters())


@pytest.mark.parametrize("loss", ["hinge", "bce"])
@pytest.mark.parametrize("num_channels", [1, 4])
def test_probabilities_carry_the_discriminators_gradient_to_the_generator(num_channels, loss):
    assert gradient_through_the_discriminator(num_channels, lambda probs: probs, loss) > 1e-6


def test_an_argmax_before_the_discriminator_kills_the_adversarial_gradient():
    """Notebook on adversarial segmentation: the discriminator received the most probable class."""

    def most_probable(probs):
        return nn.functional.one_hot(probs.argmax(1), 4).movedim(-1, 1).float()

    assert gradient_through_the_discriminator(4, most_probable) == 0


def test_losses_equal_their_formulas():
    real, fake = (np.random.default_rng(seed).normal(0, 2, 6) for seed in range(2))
    tensors = torch.tensor(real, dtype=torch.float32), torch.tensor(fake, dtype=torch.float32)
    hinge = np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)
    bce = -np.log(1 / (1 + np.exp(-real))) - np.log(1 - 1 / (1 + np.exp(-fake)))
    np.testing.assert_allclose(discriminator_loss(*tensors, "hinge").numpy(), hinge, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(discriminator_loss(*tensors, "bce").numpy(), bce, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(generator_loss(tensors[1], "hinge").numpy(), -fake, rtol=1e-5)
    np.testing.assert_allclose(
        generator_loss(tensors[1], "bce").numpy(), -np.log(1 / (1 + np.exp(-fake))), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", [SAGANUNetSettings, DiscriminatorSettings])
def test_attention_is_at_a_level_that_exists_or_nowhere(kind):
    with pytest.raises(ConfigError):
        validate(kind, {"widths": [4, 8], "attention_level": 2}, "f")
    assert validate(kind, {"widths": [4, 8], "attention_level": None}, "f").attention_level is None
