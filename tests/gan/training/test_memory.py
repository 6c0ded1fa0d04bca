import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COUNT_FAULTS = """
import json, resource, sys
import torch
from gan.training.memory import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "kept" else False
for _ in range(10):  # the first blocks do not lie well for the next ones
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(json.dumps([kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


def page_faults(how):
    """Whether memory is kept, and the page faults of ten times 64 MB that are asked for and freed."""
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS, how], cwd=ROOT, capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults as Linux does")
def test_freed_memory_is_used_again_without_asking_the_system():
    kept, few = page_faults("kept")
    if not kept:
        pytest.skip("this C library returns what is freed")
    many = page_faults("default")[1]
    assert few < many / 5
