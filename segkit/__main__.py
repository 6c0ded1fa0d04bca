"""`python -m segkit` is the same as `segkit`; stages are started this way, and so are their other ranks."""

import os
import sys
from pathlib import Path


def _leave_working_folder() -> None:
    """Import nothing from the working folder, here or in child processes: it may hold a `gan.py` or a `click.py`.

    Python puts it first for `-m`, unless it is called with -P; Lightning starts the other ranks without -P.
    """
    root = str(Path(__file__).parents[1])
    # A checkout that is not installed is imported from the working folder, and stays importable.
    if not sys.flags.safe_path and sys.path.pop(0) == root and root not in sys.path:
        sys.path.append(root)
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in (os.environ.get("PYTHONPATH"), root) if path)
    os.environ["PYTHONSAFEPATH"] = "1"


if __name__ == "__main__":
    _leave_working_folder()

    from segkit.cli import main

    main()
