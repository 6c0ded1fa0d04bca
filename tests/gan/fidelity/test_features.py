import warnings

import numpy as np
import pytest
import torch

from gan.fidelity.features import TorchScriptFeatures
from segkit.core.errors import WeightsError


class StandIn(torch.nn.Module):
    """Called as the Inception file is: means and squares of each channel as features, else logits."""

    def forward(self, images, return_features: bool = False):
        means = images.float().mean(dim=[2, 3])
        return torch.cat([means, means * means], dim=1) if return_features else means[:, :1]


class WithoutFeatures(torch.nn.Module):
    def forward(self, images):
        return images.float().mean(dim=[2, 3])


class Flat(torch.nn.Module):
    def forward(self, images, return_features: bool = False):
        return images.float().mean()


def written(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have it exported
        torch.jit.script(module).save(str(path))
    return path


def images(n=4, resolution=8, channels=3, seed=0):
    shape = (n, resolution, resolution, channels)
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def test_a_torchscript_file_is_called_for_the_features_of_uint8_images(tmp_path):
    features = TorchScriptFeatures(written(StandIn(), tmp_path / "net.pt"))
    means = images().numpy().astype(np.float64).mean(axis=(1, 2))
    np.testing.assert_allclose(features(images()), np.concatenate([means, means**2], axis=1), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels_become_three(tmp_path, channels):
    features = TorchScriptFeatures(written(StandIn(), tmp_path / "net.pt"))
    given = images(channels=channels)
    assert torch.equal(features(given), features(given[..., [0, 0, 0] if channels == 1 else [0, 1, 2]]))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (WithoutFeatures(), r"could not be called as module\(uint8 images \(n, 3, r, r\), return_features=True\)"),
        (Flat(), r"returned \(\) for 4 images; \(n, d\) is expected"),
    ],
)
def test_a_network_of_another_kind_is_refused(tmp_path, module, words):
    features = TorchScriptFeatures(written(module, tmp_path / "net.pt"))
    with pytest.raises(WeightsError, match=words):
        features(images())
