"""Errors a user can act on: one or two lines saying what was found, what was expected and what to do."""


class SegkitError(Exception):
    """A run failed for a reason the message explains; the command ends with `exit_code`."""

    exit_code = 1


class RequestError(SegkitError):
    """The request was wrong (settings, data, paths); nothing was started."""

    exit_code = 2


class ResultError(SegkitError):
    """What was computed cannot be used, or a limit in the settings forbids it; the same request gives it again."""


class CheckpointError(SegkitError):
    """A training cannot go on from what an earlier run of it left."""


class ConfigError(RequestError):
    """A settings file or `--set` holds a wrong key or value."""


class DatasetError(RequestError):
    """A data set on disk is not what its reader expects."""


class ImageError(RequestError):
    """An image file cannot be read as what it should be."""


class WeightsError(RequestError):
    """A weights file does not fit the network that is to load it."""
