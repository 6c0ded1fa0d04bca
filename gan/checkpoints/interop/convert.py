"""From an official snapshot to a folder of weights."""

from pathlib import Path

import torch

from gan.checkpoints import weights
from gan.checkpoints.adaptation import Adaptation, adapt
from gan.checkpoints.interop.snapshot import Snapshot, read_snapshot
from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from gan.settings import GanSettings
from segkit.core.config import validate
from segkit.core.errors import RequestError


def import_snapshot(
    path: Path, folder: Path, resolution: int | None = None, image_channels: int | None = None, seed: int = 0
) -> tuple[GanSettings, Adaptation]:
    """Convert a `.pkl` of the official code into a new folder.

    Args:
        resolution, image_channels: those that the weights are to be adapted to; None keeps the file's.
        seed: of the numbers of layers that begin anew.

    Returns:
        What networks are in the folder, and what became of the file's tensors.

    Raises:
        RequestError: the folder has something in it, or there are no networks of that size.
        WeightsError: as `read_snapshot`, or the tensors are not those of networks of their size; nothing is written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} is not empty; remove it, or name a new folder with --out")
    snapshot = read_snapshot(path)
    found = snapshot.settings
    weights.check_networks(found, snapshot.networks, str(path))
    asked = {"resolution": resolution, "image_channels": image_channels}
    wanted = _changed(found, {name: value for name, value in asked.items() if value is not None}, str(path))
    adaptation = adapt(snapshot.networks, found, wanted, _fresh(snapshot, wanted, seed))
    weights.write(folder, adaptation.networks, wanted)
    return wanted, adaptation


def _changed(found: GanSettings, changes: dict[str, int], source: str) -> GanSettings:
    return validate(GanSettings, found.model_dump() | changes, f"{source} adapted")


def _fresh(snapshot: Snapshot, wanted: GanSettings, seed: int) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of new networks; both generators begin alike."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator, discriminator = Generator(wanted).state_dict(), Discriminator(wanted).state_dict()
    return {name: discriminator if name == weights.DISCRIMINATOR else generator for name in snapshot.networks}
