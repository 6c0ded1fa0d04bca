"""Two CPU processes with Lightning's `ddp` against one; all trainings of the two are one command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gan.training.task import StyleGAN2Task
from tests.gan.train_together import SEED, Recording, differing, distance, fit, keep, resumable, tiny

pytestmark = [
    pytest.mark.slow,
    # runs here resume from checkpoints that another run's callback wrote
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`:UserWarning"),
]

ROOT = Path(__file__).resolve().parents[3]

# Ten iterations: R1 in four of them, path lengths in five.
TEN = {"batch_size": 8, "mbstd_group_size": 4, "kimg": 0.08, "ada_ramp_kimg": 1.0}
PLAIN = tiny(**TEN, style_mixing_prob=0.0, augment="none")
AUGMENTED = tiny(**TEN | {"mbstd_group_size": 2, "ada_ramp_kimg": 0.2, "ada_target": 0.2}, augment_transforms="bgcfnc")
RICH = tiny(
    batch_size=8,
    mbstd_group_size=2,
    images_per_pass=2,
    kimg=0.048,
    augment_transforms="bgcfnc",
    x_flips=True,
    freeze_d=2,
    num_low_precision_resolutions=1,
)
"""Everything random, in six iterations."""


class Ranks:
    """What the two processes say of a training: `ranks[name, number]`."""

    def __init__(self, folder):
        self.folder = folder

    def __getitem__(self, key):
        name, rank = key
        return torch.load(self.folder / name / f"rank{rank}.pt", weights_only=True)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Trainings in one process, by name; and the folder of the checkpoints of `plain`."""
    folder = tmp_path_factory.mktemp("one")
    trained = {}
    for name, settings in (("plain", PLAIN), ("augmented", AUGMENTED)):
        trained[name], _ = fit(settings, folder, [keep(folder / name, 5)], task=Recording(settings, SEED))
    return trained, folder


@pytest.fixture(scope="module")
def two(tmp_path_factory, one):
    """Trainings in two processes."""
    folder = tmp_path_factory.mktemp("two")
    in_passes = AUGMENTED.model_copy(update={"images_per_pass": 2})
    jobs = [
        {"name": "plain", "settings": PLAIN, "keep_every": 5},
        {"name": "augmented", "settings": in_passes},
        {"name": "after-one", "settings": PLAIN, "ckpt_path": str(one[1] / "plain" / "step=5.ckpt")},
        {"name": "rich", "settings": RICH, "keep_every": 3},
        {"name": "rich-half", "settings": RICH, "keep_every": 3, "steps": 3},
        {
            "name": "rich-resumed",
            "settings": RICH,
            "keep_every": 3,
            "ckpt_path": str(folder / "rich-half" / "step=3.ckpt"),
        },
    ]
    command = [sys.executable, "-m", "tests.gan.train_together", str(folder), "2"]
    raw = json.dumps(jobs, default=lambda settings: settings.model_dump(mode="json"))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, raw], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Ranks(folder)


def test_two_processes_train_as_one_does(one, two):
    """No style mixing, no augmentation, groups of the minibatch deviation inside a rank."""
    expected, start = one[0]["plain"].state_dict(), StyleGAN2Task(PLAIN, SEED).state_dict()
    for rank in range(2):
        found = two["plain", rank]
        assert found["images"] == 80
        assert distance(expected, found["state"]) < 1e-5
    assert expected["pl_mean"] > 0
    for network in ("generator.", "discriminator.", "generator_ema."):
        part = {key: value for key, value in expected.items() if key.startswith(network)}
        assert distance(part, start) > 1e-3


def test_two_processes_in_passes_with_mixing_and_augmentation_train_as_one_does_at_once(one, two):
    expected = one[0]["augmented"]
    for rank in range(2):
        assert distance(expected.state_dict(), two["augmented", rank]["state"]) < 1e-5


def test_the_augmentation_chance_follows_what_all_ranks_see(one, two):
    of_one, of_ranks = one[0]["augmented"].seen, [two["augmented", rank]["seen"] for rank in range(2)]
    signs = torch.stack([torch.stack(seen["sign"]) for seen in of_ranks])
    assert not torch.equal(signs[0], signs[1])
    torch.testing.assert_close(signs.mean(dim=0), torch.stack(of_one["sign"]))
    assert of_ranks[0]["p"] == of_ranks[1]["p"] == of_one["p"]
    assert len(set(map(float, of_one["p"]))) > 1
    # had each rank followed its own signs alone, one of them would have gone elsewhere
    alone = (signs.unfold(1, 4, 4).mean(dim=2) - AUGMENTED.ada_target).sign()
    assert not torch.equal(alone[0], alone[1])


def test_ranks_draw_different_latents_layer_noise_and_augmentations(two):
    first, second = (two["rich", rank]["seen"] for rank in range(2))
    for kind in ("z", "noise", "augmentation"):
        assert len(first[kind]) == len(second[kind]) > 0
        drawn = [tensor for seen in (first, second) for tensor in seen[kind]]
        rows = torch.cat([tensor.reshape(-1, tensor.shape[-1]) for tensor in drawn])
        distinct = len(torch.unique(rows, dim=0))
        assert distinct == len(rows), kind


def test_two_processes_go_on_bit_for_bit(two):
    for rank in range(2):
        whole, resumed = two["rich", rank], two["rich-resumed", rank]
        assert differing(whole["state"], resumed["state"]) == []
        assert whole["seen"]["p"][3:] == resumed["seen"]["p"]
        assert whole["images"] == resumed["images"] == 48
    checkpoints = [resumable(two.folder / name / "step=6.ckpt") for name in ("rich", "rich-resumed")]
    assert differing(*checkpoints) == []
    assert len(set(map(float, two["rich", 0]["seen"]["p"]))) > 1


def test_what_one_process_began_two_go_on_with_and_the_other_way_round(one, two, tmp_path):
    expected = one[0]["plain"].state_dict()
    for rank in range(2):
        assert distance(expected, two["after-one", rank]["state"]) < 1e-5
    task, _ = fit(PLAIN, tmp_path, ckpt_path=two.folder / "plain" / "step=5.ckpt")
    assert distance(expected, task.state_dict()) < 1e-5


def test_all_ranks_hold_the_same_numbers_and_only_the_first_writes_files(two):
    for name in ("plain", "augmented", "rich", "rich-resumed"):
        assert differing(two[name, 0]["state"], two[name, 1]["state"]) == []
        assert not (two.folder / name / "files1").exists()
    assert {path.name for path in (two.folder / "rich" / "files0" / "snapshots").iterdir()} == {
        f"kimg000000.0{seen}" for seen in (16, 32, 48)
    }
