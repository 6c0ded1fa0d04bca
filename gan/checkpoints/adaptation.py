"""Weights made to fit images of another resolution, or with other channels.

Both networks touch the image in a few 1x1 convolutions only: the generator's `torgb`, whose images of all resolutions
are added up, and the discriminator's `fromrgb` at the highest resolution. Other channels change these alone. Another
resolution adds or removes whole blocks, and with them the discriminator's `fromrgb`.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gan.networks.generator import resolutions_to
from gan.settings import GanSettings

Tensors = Mapping[str, Tensor]
Outcome = Literal["copied", "adapted", "zero", "anew", "left out"]

_LUMINANCE = torch.tensor([[0.299, 0.587, 0.114]])  # ITU-R 601, as where photographs become gray
_COLOURS = {(1, 1): torch.eye(1), (3, 3): torch.eye(3), (1, 3): torch.ones(3, 1), (3, 1): _LUMINANCE}


class Adaptation(NamedTuple):
    """Weights that fit other settings, and how they came about."""

    networks: dict[str, dict[str, Tensor]]
    """Tensors by their names, by the networks' names."""
    outcomes: dict[str, dict[str, Outcome]]
    """What became of each tensor of each network: `copied`, `adapted` to other channels, begun at `zero`, begun `anew`
    with the new network's own random numbers, or `left out`."""
    changes: tuple[str, ...]
    """What changed, a sentence each; nothing where the weights fitted as they were."""

    def summary(self) -> str:
        """The changes and how many tensors of each network they touched, one indented line each."""
        counts = {
            name: ", ".join(f"{count} {outcome}" for outcome, count in Counter(outcomes.values()).items())
            for name, outcomes in self.outcomes.items()
        }
        return "\n".join(f"  {line}" for line in (*self.changes, *(f"{name}: {n}" for name, n in counts.items())))


def _num_colours(image_channels: int) -> int:
    return 3 if image_channels >= 3 else 1


def channel_map(source: int, target: int) -> Float[Tensor, "target source"]:
    """How an image of `source` channels shows in `target` channels: one row for each of these.

    1 is gray and 3 is RGB; 2 and 4 are these with one channel more that is no colour, such as opacity or a mask. Gray
    shows in all three colours, and colours show in gray as their luminance. The further channel stays, is left out, or
    is 0 (the middle of [-1, 1]) where the source has none.
    """
    have, want = _num_colours(source), _num_colours(target)
    mixed = torch.zeros(target, source)
    mixed[:want, :have] = _COLOURS[have, want]
    if source > have and target > want:
        mixed[want, have] = 1
    return mixed


def adds_channel(found: GanSettings, wanted: GanSettings) -> bool:
    """Whether images get a further channel that those of the weights have not."""
    return wanted.image_channels in (2, 4) and found.image_channels in (1, 3)


def adapt(
    networks: Mapping[str, Tensors], found: GanSettings, wanted: GanSettings, fresh: Mapping[str, Tensors]
) -> Adaptation:
    """Make weights of networks built with `found` fit networks built with `wanted`.

    A generator draws the same picture as before: in other channels as by `channel_map`; at a lower resolution what its
    lower blocks draw; at a higher one the old picture upsampled, since the image of a new block begins at zero. A
    discriminator of other channels answers an image as it answered what `channel_map` makes of it; one of another
    resolution reads images by layers that begin anew.

    Args:
        networks: complete tensors of each network, as `found` says. Those of "discriminator" are a discriminator's, all
            others a generator's.
        found, wanted: may differ in `resolution` and `image_channels`, and in widths where only one of them has blocks.
        fresh: the tensors of new networks built with `wanted`, of which those without a counterpart are kept.
    """
    adapted: dict[str, dict[str, Tensor]] = {}
    outcomes: dict[str, dict[str, Outcome]] = {}
    for name, tensors in networks.items():
        rule = _discriminator if name == "discriminator" else _generator
        made = dict(rule(tensors, fresh[name], found, wanted))
        adapted[name] = {key: value for key, (_, value) in made.items()}
        outcomes[name] = {key: outcome for key, (outcome, _) in made.items()}
        outcomes[name] |= dict.fromkeys(tensors.keys() - made.keys(), "left out")
    return Adaptation(adapted, outcomes, tuple(_changes(found, wanted)))


def _generator(
    old: Tensors, fresh: Tensors, found: GanSettings, wanted: GanSettings
) -> Iterator[tuple[str, tuple[Outcome, Tensor]]]:
    shown = channel_map(found.image_channels, wanted.image_channels)
    for name, value in fresh.items():
        draws = name.endswith(("torgb.weight", "torgb.bias"))
        if name not in old:
            yield name, ("zero", torch.zeros_like(value)) if draws else ("anew", value)
        elif draws and found.image_channels != wanted.image_channels:
            yield name, ("adapted", torch.tensordot(shown, old[name], dims=1))
        else:
            yield name, ("copied", old[name])


def _discriminator(
    old: Tensors, fresh: Tensors, found: GanSettings, wanted: GanSettings
) -> Iterator[tuple[str, tuple[Outcome, Tensor]]]:
    seen = channel_map(wanted.image_channels, found.image_channels)
    # layers divide by the root of their inputs' number, which becomes another
    seen *= math.sqrt(wanted.image_channels / found.image_channels)
    for name, value in fresh.items():
        if name not in old:
            yield name, ("anew", value)
        elif name.endswith("fromrgb.weight") and found.image_channels != wanted.image_channels:
            yield name, ("adapted", torch.einsum("oikl,in->onkl", old[name], seen))
        else:
            yield name, ("copied", old[name])


def _changes(found: GanSettings, wanted: GanSettings) -> Iterator[str]:
    if found.image_channels != wanted.image_channels:
        told = "; ".join(_told_channels(found.image_channels, wanted.image_channels))
        yield f"image_channels {found.image_channels} -> {wanted.image_channels}: {told}"
    if found.resolution != wanted.resolution:
        low, high = sorted((found.resolution, wanted.resolution))
        names = [f"b{resolution}" for resolution in resolutions_to(high) if resolution > low]
        blocks, begin = ", ".join(names), "begins" if len(names) == 1 else "begin"
        if wanted.resolution == high:
            told = f"{blocks} {begin} anew; the generator draws the old picture upsampled"
        else:
            told = f"{blocks} left out; the generator draws what the blocks up to b{low} drew"
        yield f"resolution {found.resolution} -> {wanted.resolution}: {told}, the discriminator reads images anew"


def _told_channels(source: int, target: int) -> Iterator[str]:
    have, want = _num_colours(source), _num_colours(target)
    if have > want:
        yield "the generator draws the luminance of what it drew, the discriminator sees gray in all three colours"
    elif have < want:
        yield "the generator draws gray in all three colours, the discriminator sees their luminance"
    if source == have and target > want:
        yield "the further channel is 0 at first, and the discriminator does not look at it yet"
    elif source > have and target == want:
        yield "the further channel is left out"
