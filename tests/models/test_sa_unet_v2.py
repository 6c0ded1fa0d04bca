import torch
from torch import nn

from segkit.models import build_model
from segkit.models.settings import SAUNetV2Settings


def test_the_default_form_has_the_published_number_of_parameters():
    assert sum(parameter.numel() for parameter in build_model(SAUNetV2Settings()).parameters()) == 260_521


def test_units_have_group_norm_and_silu():
    kinds = {type(module) for module in build_model(SAUNetV2Settings()).modules()}
    assert {nn.GroupNorm, nn.SiLU} <= kinds
    assert not {nn.ReLU, nn.BatchNorm2d} & kinds


def test_skip_connections_pass_their_attention():
    network = build_model(SAUNetV2Settings(widths=(4, 8))).eval()
    image = torch.rand(1, 3, 16, 16)
    before = network(image)
    with torch.no_grad():
        network.skip_attention[0].conv.weight.mul_(-3)
    assert not torch.allclose(before, network(image))
