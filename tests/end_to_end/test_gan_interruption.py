"""The training of a GAN that is killed while it writes; `gan_kill_test.py` kills more often and at random."""

import os
from pathlib import Path

import pytest

from segkit.core.files import TEMPORARY
from tests.end_to_end import gan_kill_test, kill_test
from tests.pipelines.tiny import environment, segkit_here

pytestmark = pytest.mark.slow


def test_a_training_killed_in_a_snapshot_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", environment())
    config = gan_kill_test.prepare(tmp_path, kimg=0.144)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert segkit_here(*gan_kill_test.command(config, undisturbed)[3:]) == 0

    def snapshots() -> int:
        return len(list(killed.glob("gan/snapshots/*/settings.json")))

    def strike(seconds: float) -> bool:
        writing = any(killed.glob(f"gan/snapshots/*/{TEMPORARY}*"))
        return writing or snapshots() >= 1  # just after, should that moment slip through

    assert kill_test.run_and_kill(gan_kill_test.command(config, killed), tmp_path / "log", strike)
    assert not (killed / "gan" / "done.json").exists()
    assert segkit_here(*gan_kill_test.command(config, killed)[3:]) == 0
    assert kill_test.differences(undisturbed, killed) == []
    assert snapshots() == 3
    assert kill_test.num_compared(killed) == 3 * 3 + 2 + 1 + 4
