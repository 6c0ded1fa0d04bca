import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COUNT_FAULTS = """
import json, resource
import torch
from gan.training.memory import keep_freed_memory

def page_faults():
    for _ in range(10):  # the first blocks do not lie well for the next ones
        torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(json.dumps([page_faults(), keep_freed_memory(), page_faults()]))
"""
"""Page faults of ten times 64 MB that are asked for and freed, by default and once memory is kept."""


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults as Linux does")
def test_freed_memory_is_used_again_without_asking_the_system():
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], cwd=ROOT, capture_output=True, check=True)
    many, kept, few = json.loads(done.stdout)
    if not kept:
        pytest.skip("this C library returns what is freed")
    assert few < many / 5
