"""`torch_compile`: the main phases go through the compiler, and nothing else about the training changes."""

import json
import subprocess
import sys

import pytest
import torch

from gan.bench.measure import _configurations, measure
from segkit.core.errors import RequestError
from tests.gan.train_together import fit, tiny

MAIN_GRAPHS = 4
"""G with and without gradients, D with gradients for its input and for its weights."""

CASES = {
    "fp32, augmented, frozen": (
        {"augment": "fixed", "augment_p": 0.5, "augment_transforms": "bgc", "freeze_d": 2},
        1e-4,
    ),
    "fp16, orig": ({"num_low_precision_resolutions": 1, "low_precision": "fp16", "d_architecture": "orig"}, 1e-3),
}


@pytest.fixture(scope="module")
def answer():
    changes = json.dumps([changes for changes, _ in CASES.values()])
    command = [sys.executable, "-m", "tests.gan.networks.train_compiled", changes]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_compiled_training_learns_what_an_uncompiled_one_learns(answer, name):
    found = dict(zip(CASES, answer["cases"], strict=True))[name]
    assert found["breaks"] == []
    assert found["graphs"] == MAIN_GRAPHS
    assert found["difference"] < CASES[name][1]


@pytest.mark.slow
def test_a_bench_compiles_before_it_times(answer):
    assert answer["bench"] == [MAIN_GRAPHS, MAIN_GRAPHS]


@pytest.mark.slow
def test_a_compiled_training_goes_on_bit_for_bit(answer):
    assert answer["resumed"] == []


def test_a_bench_measures_each_precision_compiled_beside_uncompiled():
    configurations = _configurations(tiny(), ["fp32", "bf16"], 2, "default", with_compiled=True)
    assert {name: item.settings.torch_compile for name, item in configurations.items()} == {
        "reference": False,
        "fp32": False,
        "fp32 compiled": True,
        "bf16": False,
        "bf16 compiled": True,
    }
    assert configurations["bf16 compiled"].settings.num_low_precision_resolutions == 2


class NoCompilerError(RuntimeError):
    """As PyTorch wraps it, at times; its first line then says nothing."""

    inner_exception = RuntimeError("No working C++ compiler found\nSet TORCHDYNAMO_VERBOSE=1 for more")


@pytest.fixture
def without_compiler(monkeypatch):
    def fail(*_):
        raise NoCompilerError("backend='inductor' raised:")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)


@pytest.mark.usefixtures("without_compiler")
def test_a_machine_without_a_compiler_is_told_before_anything_is_trained_or_timed(tmp_path):
    told = r"fails here \(No working C\+\+ compiler found\); install a C\+\+ compiler"
    with pytest.raises(RequestError, match=told):
        fit(tiny(torch_compile=True), tmp_path)
    with pytest.raises(RequestError, match=told):
        measure(tiny(), ["fp32"], 3, with_compiled=True)
