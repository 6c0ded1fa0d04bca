"""Networks on disk: a folder of safetensors files and the networks' settings. Nothing in it can run code.

The settings carry a format number. In format 1, which may lack the number, a generator's upsampling layers correlate
with their kernels; in format 2 they convolve, as the official ones do. Loading converts format 1 by rotating these
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
"""In the settings' file; raise the number when the same tensors mean another network."""
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
    fields = set(GanSettings.model_fields)  # without those that a subclass adds
    write_json(folder / SETTINGS_FILE, {FORMAT_KEY: FORMAT, **settings.model_dump(mode="json", include=fields)})


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
        settings = validate(GanSettings, values, "the file")
    except FileNotFoundError as error:
        raise WeightsError(f"{folder} holds no GAN weights: {SETTINGS_FILE} is missing") from error
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError, ConfigError) as error:
        reason = "; ".join(str(error).splitlines())
        raise WeightsError(f"{path} is not the settings of a GAN: {reason}") from error
    if number is None and _is_import(folder, settings):
        raise WeightsError(
            f"{folder} was written by an earlier segkit and has the settings of imported weights, which that drew "
            f'wrongly: import the .pkl again. If segkit trained these weights, add "{FORMAT_KEY}": 1 to {path}'
        )
    return settings, number or 1


def _is_import(folder: Path, settings: GanSettings) -> bool:
    """Whether a folder has the contents of an import: three networks, their sizes, and a preset's training.

    An import with another resolution keeps the training of the file's resolution.
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


def _converted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A generator of format 1 converted to format 2."""
    return {
        name: value.flip([2, 3]) if _UPSAMPLING_KERNEL.fullmatch(name) else value for name, value in tensors.items()
    }


def _sizes(settings: GanSettings, up_to: int) -> dict[str, object]:
    """Values that determine the tensors' names and shapes up to a resolution, by setting."""
    base, maximum = settings.channel_base, settings.channel_max
    widths = [num_channels(r, base, maximum) for r in resolutions_to(up_to)]
    names = ("resolution", "image_channels", "num_mapping_layers", "z_dim", "w_dim", "d_architecture")
    return {name: getattr(settings, name) for name in names} | {"channel_base, channel_max": widths}


def check_fit(stored: GanSettings, settings: GanSettings, source: str) -> None:
    """Compare the networks' shapes by their settings, except those in `settings.init_adapt`.

    Raises:
        WeightsError: they differ; the message names each setting with both values.
        RequestError: `freeze_d` freezes layers that are initialised anew.
    """
    common = min(stored.resolution, settings.resolution)
    theirs, ours = _sizes(stored, common), _sizes(settings, common)
    wrong = [name for name in theirs if theirs[name] != ours[name] and name not in settings.init_adapt]
    if wrong:
        differences = "; ".join(
            f"{name} is {_values(stored, name)} there and {_values(settings, name)} in the settings" for name in wrong
        )
        raise WeightsError(f"{source} does not fit: {differences}. {_advice(stored, settings, wrong)}")
    if settings.freeze_d and (stored.resolution != settings.resolution or adds_channel(stored, settings)):
        raise RequestError(
            f"freeze_d = {settings.freeze_d} freezes the discriminator's b{settings.resolution}.fromrgb, which has to "
            f"learn the images that {source} is adapted to; set freeze_d to 0"
        )


def _values(settings: GanSettings, names: str) -> str:
    return ", ".join(str(getattr(settings, name)) for name in names.split(", "))


def _advice(stored: GanSettings, settings: GanSettings, wrong: list[str]) -> str:
    resolution = settings.resolution if "resolution" in settings.init_adapt else stored.resolution
    presets = presets_with(resolution, stored.channel_base, stored.num_mapping_layers, stored.d_architecture)
    advice = "Change the settings to the weights' values"
    if presets:
        advice += f"; networks of that size are in the presets {', '.join(presets)} at resolution {resolution}"
    adaptable = [name for name in ("resolution", "image_channels") if name in wrong]
    if adaptable:
        listed = ", ".join(dict.fromkeys([*settings.init_adapt, *adaptable]))
        advice += f". Or adapt the weights with init_adapt: [{listed}]"
    return advice


def check_tensors(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Compare tensors with those of a network.

    Raises:
        WeightsError: a tensor is missing, unknown or of another shape; the message names up to three.
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
            f"{path.parent} holds no {path.name}; a snapshot has only the averaged generator: name the folder of the "
            "training"
        ) from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read weights {path}: {error}") from error


def read(source: Path, names: Iterable[str]) -> tuple[GanSettings, dict[str, dict[str, Tensor]]]:
    """Settings and the tensors of the named networks, from a folder of ours or an official `.pkl`.

    Generators of format 1 are converted.

    Raises:
        WeightsError: there is neither, or it cannot be read; or it is of format 1 and may be an import.
    """
    if source.is_file():
        snapshot = read_snapshot(source)
        return snapshot.settings, {name: snapshot.networks[name] for name in names}
    settings, number = _read_settings(source)
    networks = {name: _tensors(_file(source, name)) for name in names}
    if number == 1:
        networks = {
            name: tensors if name == DISCRIMINATOR else _converted(tensors) for name, tensors in networks.items()
        }
    return settings, networks


def read_fitting(
    source: Path, settings: GanSettings, names: Iterable[str] = (GENERATOR, DISCRIMINATOR, GENERATOR_EMA)
) -> tuple[GanSettings, dict[str, dict[str, Tensor]]]:
    """As `read`, for networks that a training with `settings` can start from.

    Raises:
        WeightsError, RequestError: as `read`, `check_fit` and `check_networks`.
    """
    stored, tensors = read(source, names)
    check_fit(stored, settings, str(source))
    check_networks(stored, tensors, str(source))
    return stored, tensors


def load_all(source: Path, settings: GanSettings, networks: Mapping[str, nn.Module]) -> Adaptation:
    """Load several networks, built with `settings`, from a folder of ours or an official `.pkl`: all of them or none.

    If resolution or image channels differ and `settings.init_adapt` allows it, the weights are adapted, tensors without
    a counterpart are not changed, and the first process prints a summary.

    Returns:
        The loaded weights and the outcome for each tensor.

    Raises:
        WeightsError, RequestError: as `read_fitting`; no network is changed then.
    """
    source = source.expanduser()
    stored, tensors = read_fitting(source, settings, networks)
    adaptation = adapt(tensors, stored, settings, {name: network.state_dict() for name, network in networks.items()})
    for name, network in networks.items():
        check_tensors(network, adaptation.networks[name], f"{source} ({name})")
    for name, network in networks.items():
        network.load_state_dict(adaptation.networks[name])
    if adaptation.changes and rank() == 0:
        print(f"{source}, adapted\n{adaptation.summary()}", flush=True)
    return adaptation


def check_networks(settings: GanSettings, tensors: Mapping[str, Mapping[str, Tensor]], source: str) -> None:
    """Compare the tensors of several networks with those of networks built with `settings`, without allocating these.

    Raises:
        WeightsError: as `check_tensors`.
    """
    for name, values in tensors.items():
        with torch.device("meta"):  # shapes without numbers
            network = (Discriminator if name == DISCRIMINATOR else Generator)(settings)
        check_tensors(network, values, f"{source} ({name})")
