"""A checkout of NVlabs/stylegan2-ada-pytorch, where the user has one.

It lies at `third_party/stylegan2-ada-pytorch`, or where SEGKIT_STYLEGAN2_ADA points; without one the comparisons of
this folder are skipped. Of it only what a user of the program sees is used: the networks' constructors with the
options that it prints, calling them, their tensors' names, and `AugmentPipe(**options)(images)`. A stand-in of ours
for it shows that the comparisons run and what they notice.

Not compared: noise drawn at random; the official training loop. On purpose we differ from it in three things: the
target of the path lengths is their running mean before the step (here it is handed in), `w_avg` moves once per
iteration by the mean over all processes (here it is only copied), and the shift that the asymmetric sym6 filter
brings is taken back at the filter's exact centre, so that the point about which the official pipe turns and scales may
lie a fraction of a pixel beside ours, which is the image's middle.
"""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

from tests.reference.stylegan2_ada_standin.training import augment, networks

ROOT = Path(__file__).resolve().parents[3]
VARIABLE = "SEGKIT_STYLEGAN2_ADA"
STAND_IN = SimpleNamespace(networks=networks, augment=augment)


def modules_of(checkout):
    """The official modules `training.networks` and `training.augment` of a checkout."""
    sys.path.insert(0, str(checkout))
    try:
        names = ("networks", "augment")
        return SimpleNamespace(**{name: importlib.import_module(f"training.{name}") for name in names})
    finally:
        sys.path.remove(str(checkout))


def close(ours, theirs, atol=1e-4):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)
