"""Settings of the losses, and the table of them. Free of torch, so that the runner can read them.

To add a loss: a function in a module of `segkit/models/losses/`, its settings here, one line in `LOSSES`.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from segkit.core.config import Settings


class LossTerm(Settings):
    """One term of a loss."""

    name: str
    weight: float = Field(1.0, gt=0)
    """Factor on this term."""


class _PixelTerm(LossTerm):
    """A mean over pixels."""

    class_weights: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(None, min_length=2)
    """Weight of each class's pixels in the mean, in the order of the classes; [1, 5] weights the positive pixels of a
    binary task by 5. None by default."""


class CrossEntropySettings(_PixelTerm):
    """Cross-entropy: binary for one channel, categorical for several."""

    name: Literal["ce"] = "ce"


class FocalSettings(_PixelTerm):
    """Focal loss (Lin 2017): cross-entropy with less weight on pixels that are predicted well."""

    name: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0)
    """Exponent of 1 - p, the true class's missing probability; 0 is cross-entropy."""


class _ClassTerm(LossTerm):
    """A mean over classes."""

    background: bool = True
    """Count class 0 of a multi-class task too."""


class DiceSettings(_ClassTerm):
    """1 - soft Dice, the mean over classes."""

    name: Literal["dice"] = "dice"


class TverskySettings(_ClassTerm):
    """1 - Tversky index (Salehi 2017), the mean over classes: Dice with weights of both kinds of error."""

    name: Literal["tversky"] = "tversky"
    false_positive_weight: float = Field(0.3, gt=0)
    """alpha in the paper."""
    false_negative_weight: float = Field(0.7, gt=0)
    """beta in the paper; larger than alpha, it costs more to miss a pixel than to add one."""
    exponent: float = Field(1.0, gt=0)
    """Below 1, classes that are predicted well cost more: the focal Tversky loss (Abraham 2019) has 0.75."""


class LovaszSettings(_ClassTerm):
    """Lovasz hinge of a binary task, Lovasz-softmax of several classes (Berman 2018): a surrogate of 1 - IoU."""

    name: Literal["lovasz"] = "lovasz"


class MccSettings(LossTerm):
    """1 - soft Matthews correlation, the mean over classes (Guo 2025)."""

    name: Literal["mcc"] = "mcc"


class SoftClDiceSettings(_ClassTerm):
    """1 - soft clDice (Shit 2021), the mean over classes: the centre lines that both maps share."""

    name: Literal["cldice"] = "cldice"
    background: bool = False
    """Count class 0 of a multi-class task too."""
    iterations: int = Field(5, ge=0)
    """Erosions of the soft skeleton, at least the radius of the widest vessel in pixels (5 in DRIVE)."""


LOSSES: dict[type[LossTerm], str] = {
    CrossEntropySettings: "segkit.models.losses.cross_entropy:cross_entropy",
    FocalSettings: "segkit.models.losses.cross_entropy:focal",
    DiceSettings: "segkit.models.losses.overlap:soft_dice",
    TverskySettings: "segkit.models.losses.overlap:tversky",
    MccSettings: "segkit.models.losses.overlap:soft_mcc",
    LovaszSettings: "segkit.models.losses.lovasz:lovasz",
    SoftClDiceSettings: "segkit.models.losses.cldice:soft_cldice",
}
"""Every loss term: its settings and its function, `module:name`."""

NAMED_LOSSES: dict[str, tuple[LossTerm, ...]] = {
    **{kind.model_fields["name"].default: (kind(name=kind.model_fields["name"].default),) for kind in LOSSES},
    "bce": (CrossEntropySettings(),),
    "bce-dice": (CrossEntropySettings(weight=0.5), DiceSettings(weight=0.5)),
    "bce-mcc": (CrossEntropySettings(weight=0.5), MccSettings(weight=0.5)),
    "focal-tversky": (TverskySettings(exponent=0.75),),
    "dice-cldice": (DiceSettings(weight=0.5), SoftClDiceSettings(weight=0.5)),
}
"""Losses by name: each term by itself, and usual sums of them. Cross-entropy is categorical for several classes."""


def _by_name(value: object) -> object:
    if isinstance(value, dict):
        raise ValueError("input should be a name or a list of terms; put brackets around a single term: [{name: ce}]")
    if not isinstance(value, str):
        return value
    if value not in NAMED_LOSSES:
        raise ValueError(f"input should be {', '.join(NAMED_LOSSES)}, or a list of terms such as [{{name: ce}}]")
    return NAMED_LOSSES[value]


if TYPE_CHECKING:
    LossSettings = tuple[LossTerm, ...]
else:
    _Term = Annotated[reduce(or_, LOSSES), Field(discriminator="name")]
    LossSettings = Annotated[tuple[_Term, ...], Field(min_length=1), BeforeValidator(_by_name)]
