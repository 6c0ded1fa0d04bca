import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from segkit.core.errors import RequestError
from segkit.data import phantom
from segkit.models import build_model, cost
from segkit.models.settings import RidgeFilterSettings


def as_batch(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("filter_name", ["frangi", "sato"])
def test_it_ranks_vessel_pixels_of_a_phantom_far_above_chance(filter_name):
    drawn = phantom.draw(3, 200, 190)
    network = build_model(RidgeFilterSettings(filter=filter_name))
    logits = network(as_batch(drawn.image))
    assert torch.equal(logits, network(as_batch(drawn.image)))
    assert logits.shape == (1, 1, 200, 190)
    assert roc_auc_score(drawn.vessels[drawn.fov], logits[0, 0].numpy()[drawn.fov]) > 0.8


def test_the_response_is_relative_to_the_image_alone():
    images = torch.cat([as_batch(phantom.draw(seed, 64, 64).image) for seed in range(2)])
    network = build_model(RidgeFilterSettings())
    both = network(images)
    assert torch.equal(both[1:], network(images[1:]))
    assert (both.sigmoid().amax((1, 2, 3)) > 0.99).all()


def test_a_black_and_a_tiny_image_have_a_result():
    network = build_model(RidgeFilterSettings(image_channels=1))
    for image in (torch.zeros(1, 1, 40, 30), torch.rand(1, 1, 5, 7), torch.ones(1, 1, 1, 1)):
        assert network(image).isfinite().all()
        assert network(image).shape == image.shape


def test_it_has_nothing_to_train():
    network = build_model(RidgeFilterSettings())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert cost.of_network(RidgeFilterSettings()) == (0, 0)
    np.testing.assert_allclose(network.state_dict()["sigmas"], RidgeFilterSettings().sigmas)


def test_several_classes_are_refused():
    with pytest.raises(RequestError):
        build_model(RidgeFilterSettings(), 3)
