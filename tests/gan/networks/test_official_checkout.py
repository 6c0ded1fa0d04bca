"""Our networks against a user's own checkout of NVlabs/stylegan2-ada-pytorch; skipped without one.

It lies at `third_party/stylegan2-ada-pytorch`, or where SEGKIT_STYLEGAN2_ADA points. Only what a user of the program
sees of it is used: the networks' constructors, calling them, and their tensors' names.
"""

import importlib
import os
import sys
from pathlib import Path

import pytest
import torch

from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from gan.settings import GanSettings
from tests.gan.augment.draws import rng

VARIABLE = "SEGKIT_STYLEGAN2_ADA"
SIZES = {"channel_base": 512, "channel_max": 24}
SETTINGS = GanSettings(
    resolution=32, batch_size=8, mbstd_group_size=4, z_dim=16, w_dim=24, num_mapping_layers=3, **SIZES
)

pytestmark = pytest.mark.filterwarnings("ignore")  # the official code warns of its age in several ways


@pytest.fixture(scope="module")
def official():
    default = Path(__file__).resolve().parents[3] / "third_party" / "stylegan2-ada-pytorch"
    checkout = Path(os.environ.get(VARIABLE, default))
    if not (checkout / "training" / "networks.py").is_file():
        if VARIABLE in os.environ:
            pytest.fail(f"{VARIABLE} = {checkout} is no checkout of stylegan2-ada-pytorch: no training/networks.py")
        pytest.skip(f"no checkout of NVlabs/stylegan2-ada-pytorch at {checkout}; set {VARIABLE}")
    sys.path.insert(0, str(checkout))
    try:
        return importlib.import_module("training.networks")
    finally:
        sys.path.remove(str(checkout))


def randomise(network):
    """Give everything that starts at a constant another value: biases, noise strengths, the mean of w."""
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith(("bias", "noise_strength", "w_avg")):
                tensor += 0.3 * torch.randn(tensor.shape, generator=rng(2))
    return network.eval().requires_grad_(False)


def test_our_networks_draw_and_judge_as_the_official_ones(official):
    common = {"c_dim": 0, "img_resolution": 32, "img_channels": 3}
    options = SIZES | {"num_fp16_res": 0, "conv_clamp": 256}
    mapping, epilogue = {"num_layers": 3}, {"mbstd_group_size": 4}
    g = official.Generator(z_dim=16, w_dim=24, mapping_kwargs=mapping, synthesis_kwargs=options, **common)
    d = official.Discriminator(epilogue_kwargs=epilogue, **options, **common)
    ours, theirs = (Generator(SETTINGS), Discriminator(SETTINGS)), (randomise(g), randomise(d))
    for our, their in zip(ours, theirs, strict=True):
        our.load_state_dict(their.state_dict())
    z, labels = torch.randn(8, 16, generator=rng(5)), torch.zeros(8, 0)
    for psi, cutoff in ((1.0, None), (0.7, None), (0.5, 4), (-0.7, 1)):
        image = g(z, labels, truncation_psi=psi, truncation_cutoff=cutoff, noise_mode="const")
        assert image.std() > 0.1
        with torch.no_grad():
            torch.testing.assert_close(ours[0](z, psi, cutoff, "const"), image, rtol=0, atol=1e-4)
            torch.testing.assert_close(ours[1](image), d(image, labels), rtol=0, atol=1e-4)
