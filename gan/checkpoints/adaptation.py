"""Adaptation of weights to images of another resolution or with other channels.

Only a few 1x1 convolutions depend on the image's channels: the generator's `torgb`, whose images of all resolutions are
added up, and the discriminator's `fromrgb` at the highest resolution. Another resolution adds or removes whole blocks,
and with them the discriminator's `fromrgb`.
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

_LUMINANCE = torch.tensor([[0.299, 0.587, 0.114]])  # ITU-R 601, as in `gan.training.data.to_channels`
_COLOURS = {(1, 1): torch.eye(1), (3, 3): torch.eye(3), (1, 3): torch.ones(3, 1), (3, 1): _LUMINANCE}


class Adaptation(NamedTuple):
    """Weights that fit other settings, and the outcome for each tensor."""

    networks: dict[str, dict[str, Tensor]]
    """Tensors by their names, by the networks' names."""
    outcomes: dict[str, dict[str, Outcome]]
    """Of each tensor of each network: `copied`, `adapted` to other channels, set to `zero`, initialised `anew`, or
    `left out`."""
    changes: tuple[str, ...]
    """The changes, one sentence each; empty if the weights fitted."""

    def summary(self) -> str:
        """The changes, and the number of tensors by outcome for each network, as indented lines."""
        counts = {
            name: ", ".join(f"{count} {outcome}" for outcome, count in Counter(outcomes.values()).items())
            for name, outcomes in self.outcomes.items()
        }
        return "\n".join(f"  {line}" for line in (*self.changes, *(f"{name}: {n}" for name, n in counts.items())))


def _num_colours(image_channels: int) -> int:
    return 3 if image_channels >= 3 else 1


def channel_map(source: int, target: int) -> Float[Tensor, "target source"]:
    """Matrix that converts an image of `source` channels to `target` channels.

    1 is gray and 3 is RGB; 2 and 4 have one more channel that is no colour, such as opacity or a mask. Gray is repeated
    in all three colours, and colours become gray as their luminance. The extra channel stays, is left out, or is 0 (the
    middle of [-1, 1]) where the source has none.
    """
    from_colours, to_colours = _num_colours(source), _num_colours(target)
    matrix = torch.zeros(target, source)
    matrix[:to_colours, :from_colours] = _COLOURS[from_colours, to_colours]
    if source > from_colours and target > to_colours:
        matrix[to_colours, from_colours] = 1
    return matrix


def adds_channel(source: GanSettings, target: GanSettings) -> bool:
    """Whether images get an extra channel that the weights do not have."""
    return target.image_channels in (2, 4) and source.image_channels in (1, 3)


def adapt(
    networks: Mapping[str, Tensors], source: GanSettings, target: GanSettings, fresh: Mapping[str, Tensors]
) -> Adaptation:
    """Adapt weights of networks built with `source` to networks built with `target`.

    A generator draws the same image as before: in other channels by `channel_map`; at a lower resolution the image of
    its lower blocks; at a higher one the old image upsampled, since the images of new blocks are zero. A discriminator
    with other channels has the same logits as before on images converted by `channel_map`; at another resolution its
    `fromrgb` is initialised anew.

    Args:
        networks: all tensors of each network; "discriminator" names a discriminator, all other names generators.
        source, target: may differ in `resolution` and `image_channels`, and in widths of blocks that only one has.
        fresh: the tensors of new networks built with `target`, for tensors without a counterpart.
    """
    adapted: dict[str, dict[str, Tensor]] = {}
    outcomes: dict[str, dict[str, Outcome]] = {}
    for name, tensors in networks.items():
        rule = _discriminator if name == "discriminator" else _generator
        made = dict(rule(tensors, fresh[name], source, target))
        adapted[name] = {key: value for key, (_, value) in made.items()}
        outcomes[name] = {key: outcome for key, (outcome, _) in made.items()}
        outcomes[name] |= dict.fromkeys(tensors.keys() - made.keys(), "left out")
    return Adaptation(adapted, outcomes, tuple(_changes(source, target)))


def _generator(
    old: Tensors, fresh: Tensors, source: GanSettings, target: GanSettings
) -> Iterator[tuple[str, tuple[Outcome, Tensor]]]:
    channels = channel_map(source.image_channels, target.image_channels)
    for name, value in fresh.items():
        is_torgb = name.endswith(("torgb.weight", "torgb.bias"))
        if name not in old:
            yield name, ("zero", torch.zeros_like(value)) if is_torgb else ("anew", value)
        elif is_torgb and source.image_channels != target.image_channels:
            yield name, ("adapted", torch.tensordot(channels, old[name], dims=1))
        else:
            yield name, ("copied", old[name])


def _discriminator(
    old: Tensors, fresh: Tensors, source: GanSettings, target: GanSettings
) -> Iterator[tuple[str, tuple[Outcome, Tensor]]]:
    channels = channel_map(target.image_channels, source.image_channels)
    # layers divide by the root of their number of inputs, which changes
    channels *= math.sqrt(target.image_channels / source.image_channels)
    for name, value in fresh.items():
        if name not in old:
            yield name, ("anew", value)
        elif name.endswith("fromrgb.weight") and source.image_channels != target.image_channels:
            yield name, ("adapted", torch.einsum("oikl,in->onkl", old[name], channels))
        else:
            yield name, ("copied", old[name])


def _changes(source: GanSettings, target: GanSettings) -> Iterator[str]:
    if source.image_channels != target.image_channels:
        changes = "; ".join(_channel_changes(source.image_channels, target.image_channels))
        yield f"image_channels {source.image_channels} -> {target.image_channels}: {changes}"
    if source.resolution != target.resolution:
        low, high = sorted((source.resolution, target.resolution))
        names = [f"b{resolution}" for resolution in resolutions_to(high) if resolution > low]
        blocks, are = ", ".join(names), "is" if len(names) == 1 else "are"
        if target.resolution == high:
            change = f"{blocks} {are} initialised at random; the generator draws the old image upsampled"
        else:
            change = f"{blocks} left out; the generator draws the image of the blocks up to b{low}"
        sizes = f"{source.resolution} -> {target.resolution}"
        yield f"resolution {sizes}: {change}, the discriminator's fromrgb is initialised at random"


def _channel_changes(source: int, target: int) -> Iterator[str]:
    from_colours, to_colours = _num_colours(source), _num_colours(target)
    if from_colours > to_colours:
        yield "the generator draws the luminance, the discriminator's input is gray in all three colours"
    elif from_colours < to_colours:
        yield "the generator draws gray in all three colours, the discriminator's input is their luminance"
    if source == from_colours and target > to_colours:
        yield "the extra channel is 0 at first, and the discriminator ignores it at first"
    elif source > from_colours and target == to_colours:
        yield "the extra channel is left out"
