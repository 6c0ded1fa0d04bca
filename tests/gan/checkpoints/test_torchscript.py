import warnings

import pytest
import torch

from gan.checkpoints.torchscript import load_script
from segkit.core.errors import WeightsError

CPU = torch.device("cpu")


class Dropping(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(x)


def test_the_network_of_a_file_evaluates(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have it exported
        torch.jit.script(Dropping()).save(str(tmp_path / "net.pt"))
    x = torch.arange(100.0)
    assert torch.equal(load_script(tmp_path / "net.pt", CPU)(x), x)


@pytest.mark.parametrize("content", [b"", b"not a network", b"PK\x03\x04 broken"])
def test_what_is_no_torchscript_is_told_in_a_line(tmp_path, content):
    path = tmp_path / "net.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"net\.pt is not a TorchScript file \(.+\); give a TorchScript") as caught:
        load_script(path, CPU)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_numbers_without_a_network_are_no_torchscript(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "net.pt")
    with pytest.raises(WeightsError):
        load_script(tmp_path / "net.pt", CPU)


@pytest.mark.parametrize("name", ["nowhere.pt", ""])
def test_a_file_that_is_not_there_is_told(tmp_path, name):
    with pytest.raises(WeightsError):
        load_script(tmp_path / name, CPU)
