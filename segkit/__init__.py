"""segkit: vessel segmentation from twenty labelled fundus photographs, with and without synthetic images."""

__version__ = "0.1.0"

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segkit.api import Model, Prediction, load
    from segkit.tasks.evaluation import evaluate

__all__ = ["Model", "Prediction", "__version__", "evaluate", "load"]

_PLACES = {
    "Model": "segkit.api",
    "Prediction": "segkit.api",
    "load": "segkit.api",
    "evaluate": "segkit.tasks.evaluation",
}


def __dir__() -> list[str]:
    """The public names, for completion in notebooks."""
    return __all__


def __getattr__(name: str) -> object:
    """Import the Python API at its first use; the command line starts without torch."""
    if name not in _PLACES:
        raise AttributeError(f"module 'segkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
