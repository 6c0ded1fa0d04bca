"""From an official snapshot to a folder of weights."""

from pathlib import Path

import torch

from gan import weights
from gan.discriminator import Discriminator
from gan.generator import Generator
from gan.interop.snapshot import NETWORKS, read_snapshot
from gan.settings import GanSettings
from segkit.core.errors import RequestError


def import_snapshot(path: Path, folder: Path) -> GanSettings:
    """Convert a `.pkl` of the official code into a new folder, and say what networks they are.

    Raises:
        RequestError: the folder has something in it.
        WeightsError: as `read_snapshot`, or the tensors are not those of networks of their size; nothing is written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} is not empty; name a new folder with --out")
    snapshot = read_snapshot(path)
    with torch.device("meta"):  # shapes without numbers
        generator, discriminator = Generator(snapshot.settings), Discriminator(snapshot.settings)
    for name, tensors in snapshot.networks.items():
        network = discriminator if name == "discriminator" else generator
        weights.check_tensors(network, tensors, f"{path} ({NETWORKS[name]})")
    weights.write(folder, snapshot.networks, snapshot.settings)
    return snapshot.settings
