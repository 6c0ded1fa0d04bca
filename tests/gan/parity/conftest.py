"""The checkout that the comparisons are with."""

import os
from pathlib import Path

import pytest

from tests.gan.parity.checkout import ROOT, VARIABLE, modules_of


@pytest.fixture(scope="session")
def official():
    checkout = Path(os.environ.get(VARIABLE, ROOT / "third_party" / "stylegan2-ada-pytorch"))
    if not (checkout / "training" / "networks.py").is_file():
        if VARIABLE in os.environ:
            pytest.fail(f"{VARIABLE} = {checkout} is no checkout of stylegan2-ada-pytorch: no training/networks.py")
        pytest.skip(f"no checkout of NVlabs/stylegan2-ada-pytorch at {checkout}; set {VARIABLE}")
    return modules_of(checkout)
