"""Two processes, started by Lightning's own `ddp`, train the network with batch norm and DropBlock as one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from segkit.models import build_model
from segkit.tasks.weights import save_network
from tests.tasks import small

ROOT = Path(__file__).resolve().parents[2]
# Four steps: after some ten more, a change of one weight in its last bit alone makes as large a difference.
WANTED = small.settings(
    model={"widths": (16, 24), "norm": "batch", "drop_prob": 0.18, "attention_size": 7},
    batch_size=4,
    epochs=2,
    images_per_epoch=8,
    augmentation="flips",
    ema_decay=0.5,
    optimizer={"learning_rate": 1e-4},
)


def distance(a, b):
    assert a.keys() == b.keys()
    return max((value.double() - b[name].double()).abs().max().item() for name, value in a.items())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Grainy pictures: in flat dark parts rounding alone would decide which of equal pixels a pooling takes."""
    return small.draw(tmp_path_factory.mktemp("grainy"), ["train"] * 4 + ["val"] * 3, grain=40)


@pytest.fixture(scope="module")
def together(tmp_path_factory, pictures):
    """What each of two processes is left with."""
    folder = tmp_path_factory.mktemp("sharding")
    torch.manual_seed(1)
    save_network(folder / "model", build_model(WANTED.model).state_dict(), WANTED.model, WANTED.geometry)
    data = pictures.rows[0].image.path.parent
    command = [sys.executable, "-m", "tests.tasks.small", str(data), str(folder / "two"), "2", WANTED.model_dump_json()]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [torch.load(folder / "two" / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    return folder, ranks


@pytest.mark.slow
def test_two_processes_train_validate_and_predict_as_one_does(together, pictures, one_thread):
    folder, ranks = together
    alone = small.fit_thrice(folder / "one", pictures, WANTED)
    for name, moved, tolerance in (("adam", 2e-4, 1e-8), ("descent", 1e-3, 1e-5), ("lone", 2e-4, 1e-8)):
        one, first, second = (run[name] for run in (alone, *ranks))
        assert distance(first["weights"]["last"], second["weights"]["last"]) == 0
        assert distance(one["weights"]["first"], one["weights"]["last"]) > moved
        for moment in ("first", "last", "best"):
            assert distance(one["weights"][moment], first["weights"][moment]) < tolerance, (name, moment)
        assert len(first["val"]) == 2
        assert first["val"] == second["val"]
        for ours, theirs in ((one["val"], first["val"]), (one["curves"], first["curves"])):
            for expected, seen in zip(ours, theirs, strict=True):
                assert seen == pytest.approx(expected, abs=1e-4)
    small.predict(folder / "one", folder / "model", pictures)
    for row in pictures.rows:
        ours, theirs = (folder / place / f"{row.name}.png" for place in ("one", "two/predictions"))
        assert ours.read_bytes() == theirs.read_bytes()
    assert len(list((folder / "two" / "predictions").iterdir())) == len(pictures)
