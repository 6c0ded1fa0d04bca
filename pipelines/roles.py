"""Roles of a recipe's models, from which the report derives comparisons and verdict; free of torch."""

from pydantic import Field

from segkit.core.config import Settings


class Roles(Settings):
    """Names of stages by their role in the experiment."""

    baseline: str
    """The model that treated models and the ensemble are compared with."""
    treated: tuple[str, ...] = ()
    """Models trained with the treatment that the recipe tests."""
    controls: dict[str, str] = Field(default_factory=dict)
    """By treated model: its control, trained alike but without the treatment. Their difference gives the verdict."""
    ensemble: str | None = None
    """The combination of several models."""
    treatment: str = "synthetic images"
    """What only the treated models are trained with, as a plural noun."""
