"""The git commit of the code that runs."""

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """The 40 digits of segkit's own commit, `+` appended when files were changed; None outside a checkout of segkit."""
    try:
        _git("ls-files", "--error-unmatch", __file__)  # pip may have put us into a folder of another checkout
        return _git("describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    here = Path(__file__).parent
    return subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
