"""Errors that a user can correct. A message gives what was found, what was expected and what to do next."""


class SegkitError(Exception):
    """A run failed for the reason in the message; the command exits with `exit_code`."""

    exit_code = 1


class RequestError(SegkitError):
    """The request is invalid (settings, data, paths); nothing was started."""

    exit_code = 2


class ResultError(SegkitError):
    """The result is unusable or exceeds a limit in the settings; the same request would give it again."""


class CheckpointError(SegkitError):
    """A training cannot resume from the files of an earlier run."""


class ConfigError(RequestError):
    """A settings file or `--set` has a wrong key or value."""


class DatasetError(RequestError):
    """A data set on disk does not have the form that its reader expects."""


class ImageError(RequestError):
    """An image file cannot be read, or does not hold the expected kind of image."""


class WeightsError(RequestError):
    """A weights file does not fit the network."""
