import pytest
import torch

from segkit.core.errors import ConfigError
from segkit.tasks import precision
from segkit.tasks.precision import resolve_precision


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be another machine."""

    def machine(avx512_bf16=False, amx=False, gpu=False, gpu_bf16=False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu_bf16)

    return machine


def test_what_is_asked_for_is_taken(machine):
    machine(gpu=True)
    for wanted in ("32-true", "bf16-mixed", "16-mixed"):
        assert resolve_precision(wanted) == wanted
    machine(avx512_bf16=True)
    assert resolve_precision("32-true") == "32-true"
    machine()
    assert resolve_precision("bf16-mixed", "cpu") == "bf16-mixed"


@pytest.mark.parametrize(
    ("has", "accelerator", "expected"),
    [
        ({}, "auto", "32-true"),
        ({"avx512_bf16": True}, "auto", "bf16-mixed"),
        ({"amx": True}, "cpu", "bf16-mixed"),
        ({"gpu": True, "gpu_bf16": True}, "auto", "bf16-mixed"),
        ({"gpu": True, "gpu_bf16": False}, "gpu", "32-true"),
        ({"gpu": True, "gpu_bf16": False, "avx512_bf16": True}, "auto", "32-true"),
        ({"gpu": True, "gpu_bf16": True}, "cpu", "32-true"),
        ({"gpu": True, "gpu_bf16": False, "avx512_bf16": True}, "cpu", "bf16-mixed"),
    ],
)
def test_auto_takes_bf16_where_the_hardware_multiplies_it(machine, has, accelerator, expected):
    machine(**has)
    assert resolve_precision("auto", accelerator) == expected


def test_a_torch_that_cannot_tell_means_fp32(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert precision.cpu_has_bf16() is False


def test_fp16_without_a_gpu_is_refused(machine):
    for has, accelerator in (({}, "auto"), ({"gpu": True}, "cpu")):
        machine(**has)
        with pytest.raises(ConfigError, match=r"'16-mixed' needs a GPU; use 'auto' or 'bf16-mixed'"):
            resolve_precision("16-mixed", accelerator)
