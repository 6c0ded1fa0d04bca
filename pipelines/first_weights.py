"""Whether the GAN's first weights fit its settings, found out before any stage starts."""

import subprocess
import sys

from gan.settings import GanSettings
from segkit.core.errors import RequestError, SegkitError, WeightsError


def check(settings: GanSettings) -> None:
    """Read the weights that `init_from` names as the training will, in another process: this one loads no torch.

    Raises:
        WeightsError: they cannot be read or do not fit; the message names what does.
        SegkitError: that process could not tell.
    """
    asked = subprocess.run(
        [sys.executable, "-P", "-m", "gan.first_weights"],  # -P: import nothing from the working folder
        input=settings.model_dump_json(),
        capture_output=True,
        text=True,
    )
    said = asked.stderr.strip()
    if asked.returncode == RequestError.exit_code:
        raise WeightsError(said)
    if asked.returncode != 0:
        last = said.splitlines()[-1] if said else f"exit status {asked.returncode}"
        raise SegkitError(f"cannot check gan.init_from = {settings.init_from}: {last}")
