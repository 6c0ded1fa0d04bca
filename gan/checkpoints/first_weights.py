"""`python -m gan.checkpoints.first_weights`: check the weights of `init_from` for the runner, which loads no torch.

Standard input holds GAN settings as JSON. The exit code is 0 if the weights fit them; else it is that of the error,
whose message is on standard error.
"""

import sys

from gan.checkpoints import weights
from gan.settings import GanSettings
from segkit.core.errors import SegkitError


def main() -> None:
    """Read the weights in the way that the training reads them."""
    settings = GanSettings.model_validate_json(sys.stdin.read())
    assert settings.init_from is not None, "init_from is not set"
    try:
        weights.read_fitting(settings.init_from.expanduser(), settings)
    except SegkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
