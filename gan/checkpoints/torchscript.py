"""Networks in TorchScript files; loading one runs the code in it."""

import warnings
from pathlib import Path

import torch

from segkit.core.errors import WeightsError


def load_script(path: Path, device: torch.device) -> torch.jit.ScriptModule:
    """The network of a TorchScript file in evaluation mode. Loading runs the file's code: only load one you trust.

    Raises:
        WeightsError: the file is missing or not TorchScript.
    """
    advice = "give a TorchScript file (.pt) or a teacher's folder"
    if not path.is_file():
        raise WeightsError(f"{path} does not exist; {advice}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated")  # the format is the user's choice
            network: torch.jit.ScriptModule = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError, EOFError) as error:
        reason = str(error).strip().splitlines()[0].split(". ")[0]
        raise WeightsError(f"{path} is not a TorchScript file ({reason}); {advice}") from error
    return network
