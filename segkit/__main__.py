"""Where `segkit` and `python -m segkit` begin."""

import os
import sys
from pathlib import Path
from typing import NoReturn


def _leave_working_folder() -> None:
    """Import nothing from the working folder, here or in child processes: it may hold a `gan.py` or a `click.py`.

    Python searches it first for `-m`, unless called with -P; Lightning starts the other ranks of a stage without -P.
    """
    root = str(Path(__file__).parents[1])
    # A checkout that is not installed is imported from the working folder, and stays importable.
    if not sys.flags.safe_path and sys.path.pop(0) == root and root not in sys.path:
        sys.path.append(root)
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in (os.environ.get("PYTHONPATH"), root) if path)
    os.environ["PYTHONSAFEPATH"] = "1"


def main() -> NoReturn:
    """Run the command line."""
    _leave_working_folder()
    from segkit.cli import main as run  # imports click, which the working folder must not shadow

    run()


if __name__ == "__main__":
    main()
