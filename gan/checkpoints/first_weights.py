"""`python -m gan.checkpoints.first_weights`: whether a training can start from its weights, for the runner, which loads
no torch.

GAN settings as JSON come in on standard input. The exit status is 0 where the weights of `init_from` fit them; else it
is that of the error, and its message is on standard error.
"""

import sys

from gan.checkpoints import weights
from gan.settings import GanSettings
from segkit.core.errors import SegkitError


def main() -> None:
    """Read the weights as the training will."""
    settings = GanSettings.model_validate_json(sys.stdin.read())
    assert settings.init_from is not None, "there are no first weights to check"
    try:
        weights.read_fitting(settings.init_from.expanduser(), settings)
    except SegkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
