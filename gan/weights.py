"""Networks on disk: a folder of safetensors files and the settings they were built with. Nothing in it can run code.

Training can also start from an official snapshot, which is read by `gan.interop`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gan.discriminator import Discriminator
from gan.generator import Generator, num_channels, resolutions_to
from gan.interop.snapshot import read_snapshot
from gan.settings import GanSettings, presets_with
from segkit.core.errors import WeightsError
from segkit.core.files import atomic_path, read_json, write_json

SETTINGS_FILE = "settings.json"
GENERATOR, DISCRIMINATOR, GENERATOR_EMA = "generator", "discriminator", "generator_ema"


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def save(folder: Path, networks: Mapping[str, nn.Module], settings: GanSettings) -> None:
    """Write networks by name ("generator", "discriminator", "generator_ema") and their settings into a folder."""
    write(folder, {name: network.state_dict() for name, network in networks.items()}, settings)


def write(folder: Path, networks: Mapping[str, Mapping[str, Tensor]], settings: GanSettings) -> None:
    """Write networks, given as tensors by name, and their settings into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in networks.items():
        with atomic_path(_file(folder, name)) as temporary:
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary)
    write_json(folder / SETTINGS_FILE, settings.model_dump(mode="json"))


def read_settings(folder: Path) -> GanSettings:
    """Settings of the networks in a folder.

    Raises:
        WeightsError: there are none, or they are not a GAN's.
    """
    path = folder / SETTINGS_FILE
    try:
        return GanSettings.model_validate(read_json(path))
    except FileNotFoundError as error:
        raise WeightsError(f"{folder} holds no GAN weights: {SETTINGS_FILE} is missing") from error
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} is not the settings of a GAN: {str(error).splitlines()[0]}") from error


def _shape(settings: GanSettings) -> dict[str, object]:
    """What decides the shapes of the tensors, by the name of the setting to change."""
    widths = [num_channels(r, settings.channel_base, settings.channel_max) for r in resolutions_to(settings.resolution)]
    return {
        "resolution": settings.resolution,
        "image_channels": settings.image_channels,
        "num_mapping_layers": settings.num_mapping_layers,
        "z_dim": settings.z_dim,
        "w_dim": settings.w_dim,
        "channel_base, channel_max": f"{settings.channel_base}, {settings.channel_max}",
        "_widths": widths,
    }


def check_fit(found: GanSettings, wanted: GanSettings, source: str) -> None:
    """Compare the networks' shapes by their settings.

    Raises:
        WeightsError: they differ; the message names each setting with both values.
    """
    have, want = _shape(found), _shape(wanted)
    same_widths = have.pop("_widths") == want.pop("_widths")
    wrong = [
        f"{name} is {have[name]} there and {want[name]} in the settings"
        for name in have
        if have[name] != want[name] and not (name.startswith("channel_base") and same_widths)
    ]
    if wrong:
        presets = presets_with(found.resolution, found.channel_base, found.num_mapping_layers)
        hint = f"; those of the network's size are in the presets {', '.join(presets)}" if presets else ""
        raise WeightsError(
            f"{source} does not fit: {'; '.join(wrong)}. Change the settings to the weights' values{hint}"
        )


def check_tensors(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Compare tensors with those that a network has.

    Raises:
        WeightsError: one is missing, unknown or of another shape; the message names up to three.
    """
    own = network.state_dict()
    problems = [f"{key} is missing" for key in own.keys() - tensors.keys()]
    problems += [f"{key} is unknown" for key in tensors.keys() - own.keys()]
    problems += [
        f"{key} is {tuple(tensors[key].shape)}, not {tuple(own[key].shape)}"
        for key in own.keys() & tensors.keys()
        if tensors[key].shape != own[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"{source} does not fit the network: {'; '.join(sorted(problems)[:3])}{more}")


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise WeightsError(f"cannot read weights {path}: {error}") from error


def load_into(network: nn.Module, folder: Path, name: str) -> None:
    """Load one network's tensors, all of them or none.

    Raises:
        WeightsError: the file is missing or damaged, or a tensor is missing, unknown or of another shape.
    """
    path = _file(folder, name)
    tensors = _tensors(path)
    check_tensors(network, tensors, str(path))
    network.load_state_dict(tensors)


def read(source: Path, names: Iterable[str]) -> tuple[GanSettings, dict[str, dict[str, Tensor]]]:
    """Settings and the tensors of the named networks, from a folder of ours or an official `.pkl`.

    Raises:
        WeightsError: there is neither, or it cannot be read.
    """
    if source.is_file():
        snapshot = read_snapshot(source)
        return snapshot.settings, {name: snapshot.networks[name] for name in names}
    return read_settings(source), {name: _tensors(_file(source, name)) for name in names}


def load_all(source: Path, settings: GanSettings, networks: Mapping[str, nn.Module]) -> None:
    """Load several networks, built with `settings`, from a folder of ours or an official `.pkl`: all of them or none.

    Raises:
        WeightsError: as `read`, `check_fit` and `check_tensors`; no network has then been changed.
    """
    source = source.expanduser()
    found, tensors = read(source, networks)
    check_fit(found, settings, str(source))
    for name, network in networks.items():
        check_tensors(network, tensors[name], f"{source} ({name})")
    for name, network in networks.items():
        network.load_state_dict(tensors[name])


def load_generator(folder: Path) -> Generator:
    """The averaged generator of a folder, ready to draw."""
    generator = Generator(read_settings(folder))
    load_into(generator, folder, GENERATOR_EMA)
    return generator.requires_grad_(False)


def load_discriminator(folder: Path) -> Discriminator:
    """The discriminator of a folder."""
    discriminator = Discriminator(read_settings(folder))
    load_into(discriminator, folder, DISCRIMINATOR)
    return discriminator
