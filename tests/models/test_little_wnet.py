import pytest
import torch

from segkit.core.errors import RequestError
from segkit.models import build_model
from segkit.models.heads import as_outputs
from segkit.models.settings import LittleWNetSettings


@pytest.mark.parametrize(
    ("widths", "num_stages", "num_channels", "published"),
    [
        ((8, 16, 32), 1, 1, 34_201),
        ((8, 16, 32), 2, 1, 68_482),
        ((8, 16, 32, 64), 2, 1, 279_170),
        ((8, 16, 32, 64), 2, 4, 279_464),
    ],
)
def test_the_published_sizes_are_met(widths, num_stages, num_channels, published):
    network = build_model(LittleWNetSettings(widths=widths, num_stages=num_stages), num_channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == published


@pytest.mark.parametrize("num_stages", [1, 2, 3])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_earlier_stages_are_auxiliary_outputs_in_training_only(num_stages, num_channels):
    network = build_model(LittleWNetSettings(widths=(2, 3), num_stages=num_stages), num_channels)
    result = as_outputs(network(torch.rand(2, 3, 8, 6)))
    assert result.logits.shape == (2, num_channels, 8, 6)
    assert len(result.auxiliary) == num_stages - 1
    assert as_outputs(network.eval()(torch.rand(2, 3, 8, 6))).auxiliary == ()


def test_the_second_stage_gets_the_logits_of_the_first():
    network = build_model(LittleWNetSettings(widths=(2, 3))).eval()
    image = torch.rand(1, 3, 8, 8)
    first = network.stages[0](image)
    assert torch.equal(network(image), network.stages[1](torch.cat([image, first], 1)))


def test_a_size_that_the_levels_do_not_divide_is_refused():
    with pytest.raises(RequestError):
        build_model(LittleWNetSettings())(torch.rand(1, 3, 16, 18))
