"""Networks on disk: a folder of safetensors files and the settings they were built with. Nothing in it can run code.

The settings carry a format number. In format 1, which may lack the number, a generator's upsampling layers correlate
with their kernels; in format 2 they convolve, as the official ones do. Loading converts format 1 by turning these
kernels by 180 degrees.

Training can also start from an official snapshot, which is read by `gan.checkpoints.interop`, and from networks of
another resolution or with other image channels where the settings ask for it (`gan.checkpoints.adaptation`).
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gan.checkpoints.adaptation import Adaptation, adapt, adds_channel
from gan.checkpoints.interop.snapshot import read_snapshot
from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator, num_channels, resolutions_to
from gan.settings import GanSettings, presets_with
from gan.training.distributed import rank
from segkit.core.config import validate
from segkit.core.errors import ConfigError, RequestError, WeightsError
from segkit.core.files import atomic_path, read_json, write_json

SETTINGS_FILE = "settings.json"
GENERATOR, DISCRIMINATOR, GENERATOR_EMA = "generator", "discriminator", "generator_ema"
FORMAT_KEY, FORMAT = "format", 2
"""In the settings' file; raise the number when the same tensors come to mean other networks."""
_UPSAMPLING_KERNEL = re.compile(r"synthesis\.b\d+\.conv0\.weight")


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
    write_json(folder / SETTINGS_FILE, {FORMAT_KEY: FORMAT, **settings.model_dump(mode="json")})


def read_settings(folder: Path) -> GanSettings:
    """Settings of the networks in a folder.

    Raises:
        WeightsError: there are none, or they are not a GAN's.
    """
    return _read_settings(folder)[0]


def _read_settings(folder: Path) -> tuple[GanSettings, int]:
    """Settings and the format of the networks in a folder."""
    path = folder / SETTINGS_FILE
    try:
        values = read_json(path)
        number = values.pop(FORMAT_KEY, None) if isinstance(values, dict) else None
        if number is not None and (type(number) is not int or not 1 <= number <= FORMAT):
            raise WeightsError(f"{path}: {FORMAT_KEY} is {number!r}, this segkit reads 1 to {FORMAT}; update segkit")
        settings = validate(GanSettings, values, "it says")
    except FileNotFoundError as error:
        raise WeightsError(f"{folder} holds no GAN weights: {SETTINGS_FILE} is missing") from error
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError, ConfigError) as error:
        reason = "; ".join(str(error).splitlines())
        raise WeightsError(f"{path} is not the settings of a GAN: {reason}") from error
    if number is None and _imported(folder, settings):
        raise WeightsError(
            f"{folder} is of an earlier segkit, which drew wrong images from imported weights, and has the settings of "
            f'an import: import the .pkl again. If segkit trained these weights, add "{FORMAT_KEY}": 1 to {path}'
        )
    return settings, number or 1


def _imported(folder: Path, settings: GanSettings) -> bool:
    """Whether a folder is what an import writes: three networks, their sizes, and the usual training of such networks.

    An import may have changed the resolution afterwards, and then kept the training of the first one.
    """
    names = ("preset", "image_channels", "channel_base", "channel_max", "num_mapping_layers", "z_dim", "w_dim")
    sizes = {name: getattr(settings, name) for name in (*names, "conv_clamp", "d_architecture", "augment_p")}
    imports = (
        GanSettings(resolution=resolution, num_low_precision_resolutions=0, augment_transforms="bg", **sizes)
        for resolution in resolutions_to(1024)[1:]
    )
    change = {"resolution": settings.resolution}
    return _file(folder, DISCRIMINATOR).exists() and any(
        settings == imported.model_copy(update=change) for imported in imports
    )


def _turned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A generator of format 1 as one of format 2."""
    return {
        name: value.flip([2, 3]) if _UPSAMPLING_KERNEL.fullmatch(name) else value for name, value in tensors.items()
    }


def _sizes(settings: GanSettings, up_to: int) -> dict[str, object]:
    """What decides the tensors' names and shapes up to a resolution, by the setting to change."""
    base, most = settings.channel_base, settings.channel_max
    widths = [num_channels(r, base, most) for r in resolutions_to(up_to)]
    names = ("resolution", "image_channels", "num_mapping_layers", "z_dim", "w_dim", "d_architecture")
    return {name: getattr(settings, name) for name in names} | {"channel_base, channel_max": widths}


def check_fit(found: GanSettings, wanted: GanSettings, source: str) -> None:
    """Compare the networks' shapes by their settings, but for what `wanted.init_adapt` names.

    Raises:
        WeightsError: they differ; the message names each setting with both values.
        RequestError: `freeze_d` would keep the discriminator from learning to read the adapted images.
    """
    shared = min(found.resolution, wanted.resolution)
    have, want = _sizes(found, shared), _sizes(wanted, shared)
    wrong = [name for name in have if have[name] != want[name] and name not in wanted.init_adapt]
    if wrong:
        told = [f"{name} is {_values(found, name)} there and {_values(wanted, name)} in the settings" for name in wrong]
        raise WeightsError(f"{source} does not fit: {'; '.join(told)}. {_advice(found, wanted, wrong)}")
    if wanted.freeze_d and (found.resolution != wanted.resolution or adds_channel(found, wanted)):
        raise RequestError(
            f"freeze_d = {wanted.freeze_d} keeps the discriminator's b{wanted.resolution}.fromrgb as it is, which has "
            f"yet to learn the images that {source} is adapted to; set freeze_d to 0"
        )


def _values(settings: GanSettings, names: str) -> str:
    return ", ".join(str(getattr(settings, name)) for name in names.split(", "))


def _advice(found: GanSettings, wanted: GanSettings, wrong: list[str]) -> str:
    resolution = wanted.resolution if "resolution" in wanted.init_adapt else found.resolution
    presets = presets_with(resolution, found.channel_base, found.num_mapping_layers, found.d_architecture)
    advice = "Change the settings to the weights' values"
    if presets:
        advice += f"; networks of that size are in the presets {', '.join(presets)} at resolution {resolution}"
    adaptable = [name for name in ("resolution", "image_channels") if name in wrong]
    if adaptable:
        listed = ", ".join(dict.fromkeys([*wanted.init_adapt, *adaptable]))
        advice += f". Or have the weights adapted, by init_adapt: [{listed}]"
    return advice


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
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path.parent} holds no {path.name}; a snapshot has the averaged generator alone, name the folder of the "
            "whole training"
        ) from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read weights {path}: {error}") from error


def read(source: Path, names: Iterable[str]) -> tuple[GanSettings, dict[str, dict[str, Tensor]]]:
    """Settings and the tensors of the named networks, from a folder of ours or an official `.pkl`.

    Generators of format 1 are converted.

    Raises:
        WeightsError: there is neither, or it cannot be read; or it is of format 1 and may have been imported.
    """
    if source.is_file():
        snapshot = read_snapshot(source)
        return snapshot.settings, {name: snapshot.networks[name] for name in names}
    settings, number = _read_settings(source)
    networks = {name: _tensors(_file(source, name)) for name in names}
    if number == 1:
        networks = {name: tensors if name == DISCRIMINATOR else _turned(tensors) for name, tensors in networks.items()}
    return settings, networks


def read_fitting(
    source: Path, settings: GanSettings, names: Iterable[str] = (GENERATOR, DISCRIMINATOR, GENERATOR_EMA)
) -> tuple[GanSettings, dict[str, dict[str, Tensor]]]:
    """As `read`, of networks that a training with `settings` can start from.

    Raises:
        WeightsError, RequestError: as `read`, `check_fit` and `check_networks`.
    """
    found, tensors = read(source, names)
    check_fit(found, settings, str(source))
    check_networks(found, tensors, str(source))
    return found, tensors


def load_all(source: Path, settings: GanSettings, networks: Mapping[str, nn.Module]) -> Adaptation:
    """Load several networks, built with `settings`, from a folder of ours or an official `.pkl`: all of them or none.

    Where `settings.init_adapt` allows it and resolution or image channels differ, the weights are adapted, and what has
    no counterpart in them stays as it is in `networks`. The first process then prints what became of them.

    Returns:
        What was loaded, and how it came about.

    Raises:
        WeightsError, RequestError: as `read_fitting`; no network has then been changed.
    """
    source = source.expanduser()
    found, tensors = read_fitting(source, settings, networks)
    adaptation = adapt(tensors, found, settings, {name: network.state_dict() for name, network in networks.items()})
    for name, network in networks.items():
        check_tensors(network, adaptation.networks[name], f"{source} ({name})")
    for name, network in networks.items():
        network.load_state_dict(adaptation.networks[name])
    if adaptation.changes and rank() == 0:
        print(f"{source}, adapted\n{adaptation.summary()}", flush=True)
    return adaptation


def check_networks(settings: GanSettings, tensors: Mapping[str, Mapping[str, Tensor]], source: str) -> None:
    """Compare the tensors of several networks with those that `settings` make, before memory is taken for these.

    Raises:
        WeightsError: as `check_tensors`.
    """
    for name, values in tensors.items():
        with torch.device("meta"):  # shapes without numbers
            network = (Discriminator if name == DISCRIMINATOR else Generator)(settings)
        check_tensors(network, values, f"{source} ({name})")
