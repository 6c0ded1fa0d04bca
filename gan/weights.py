"""Networks on disk: a folder of safetensors files and the settings they were built with. Nothing in it can run code."""

import json
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from gan.discriminator import Discriminator
from gan.generator import Generator, num_channels, resolutions_to
from gan.settings import GanSettings
from segkit.core.errors import WeightsError
from segkit.core.files import atomic_path, read_json, write_json

SETTINGS_FILE = "settings.json"
GENERATOR, DISCRIMINATOR, GENERATOR_EMA = "generator", "discriminator", "generator_ema"


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def save(folder: Path, networks: dict[str, nn.Module], settings: GanSettings) -> None:
    """Write networks by name ("generator", "discriminator", "generator_ema") and their settings into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
        with atomic_path(_file(folder, name)) as temporary:
            save_file(tensors, temporary)
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
        raise WeightsError(f"{source} does not fit: {'; '.join(wrong)}. Change the settings to the weights' values")


def load_into(network: nn.Module, folder: Path, name: str) -> None:
    """Load one network's tensors, all of them or none.

    Raises:
        WeightsError: the file is missing or damaged, or a tensor is missing, unknown or of another shape.
    """
    path = _file(folder, name)
    try:
        tensors = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise WeightsError(f"cannot read weights {path}: {error}") from error
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
        raise WeightsError(f"{path} does not fit the network: {'; '.join(sorted(problems)[:3])}{more}")
    network.load_state_dict(tensors)


def load_all(folder: Path, settings: GanSettings, networks: dict[str, nn.Module]) -> None:
    """Load several networks of one folder into ones built with `settings`.

    Raises:
        WeightsError: as `check_fit` and `load_into`; no network has then been changed by settings that do not fit.
    """
    check_fit(read_settings(folder), settings, str(folder))
    for name, network in networks.items():
        load_into(network, folder, name)


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
