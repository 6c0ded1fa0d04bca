"""The models that come with segkit: a folder each, named as users name it."""

from pathlib import Path

from segkit.core.errors import WeightsError
from segkit.core.names import hint

ROOT = Path(__file__).parent
DEFAULT = "vessels"


def shipped_models() -> dict[str, Path]:
    """Folder of each shipped model by name."""
    return {path.parent.name: path.parent for path in sorted(ROOT.glob("*/model.json"))}


def model_folder(model: str | Path) -> Path:
    """The folder of a shipped model, or the folder or ONNX file itself; `./vessels` is always a folder.

    Raises:
        WeightsError: there is neither.
    """
    shipped = shipped_models()
    if str(model) in shipped:
        return shipped[str(model)]
    if not str(model) or not Path(model).exists():
        raise WeightsError(
            f"there is no model {str(model)!r}, neither a folder nor an .onnx file; "
            + hint(str(model), shipped, f"shipped models: {', '.join(shipped) or 'none'}")
        )
    return Path(model)
