"""Versions of the code and libraries, for the record of a result."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

TASK_FORMAT_KEY = "task_format"
"""Key in a training checkpoint of the task's `checkpoint_format`: a number to raise when the same tensors mean another
network."""

RECORDED_PACKAGES = ("segkit", "torch", "lightning", "numpy", "albumentations", "pillow")


def installed_versions() -> dict[str, str]:
    """Version of Python and of each recorded package that is installed."""
    versions = {name: installed_version(name) for name in RECORDED_PACKAGES}
    return {"python": platform.python_version()} | {name: version for name, version in versions.items() if version}


def installed_version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit of the running code, with `+` if there are changes; None outside a checkout of segkit."""
    try:
        _git("ls-files", "--error-unmatch", __file__)  # an installed segkit may be inside another checkout
        return _git("describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    here = Path(__file__).parent
    return subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
