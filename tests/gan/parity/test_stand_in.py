import os
import subprocess
import sys

import pytest

from tests.gan.parity.checkout import ROOT, VARIABLE


@pytest.mark.slow
def test_a_checkout_named_by_the_variable_is_compared():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gan/parity", "-k", "official"]
    environment = os.environ | {VARIABLE: str(ROOT / "tests" / "reference" / "stylegan2_ada_standin")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1], done.stdout
