"""Conversion of an official snapshot to a folder of weights."""

from pathlib import Path

import torch

from gan.checkpoints import weights
from gan.checkpoints.adaptation import Adaptation, adapt
from gan.checkpoints.interop.snapshot import Snapshot, read_snapshot
from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from gan.settings import GanSettings
from segkit.core.config import validate
from segkit.core.outputs import check_new_folder


def import_snapshot(
    path: Path, folder: Path, resolution: int | None = None, image_channels: int | None = None, seed: int = 0
) -> tuple[GanSettings, Adaptation]:
    """Convert a `.pkl` of the official code into a new folder.

    Args:
        resolution, image_channels: to adapt the weights to; None keeps the file's.
        seed: of layers that are initialised anew.

    Returns:
        The settings of the networks in the folder, and the adaptation.

    Raises:
        RequestError: the folder is not empty, or there are no networks of that size.
        WeightsError: as `read_snapshot`, or the tensors do not fit the networks; nothing is written.
    """
    check_new_folder(folder)
    snapshot = read_snapshot(path)
    source = snapshot.settings
    weights.check_networks(source, snapshot.networks, str(path))
    options = {"resolution": resolution, "image_channels": image_channels}
    changes = {name: value for name, value in options.items() if value is not None}
    target = validate(GanSettings, source.model_dump() | changes, f"{path} adapted")
    adaptation = adapt(snapshot.networks, source, target, _new_tensors(snapshot, target, seed))
    weights.write(folder, adaptation.networks, target)
    return target, adaptation


def _new_tensors(snapshot: Snapshot, settings: GanSettings, seed: int) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of new networks; both generators are equal."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator, discriminator = Generator(settings).state_dict(), Discriminator(settings).state_dict()
    return {name: discriminator if name == weights.DISCRIMINATOR else generator for name in snapshot.networks}
