"""How a stage's process ends other than well: told by its exit status, and said by whoever started it."""

import signal
from enum import IntEnum

CONDUCTED = "SEGKIT_CONDUCTED"
"""Set in a stage's environment: whoever started it says how to go on."""


class Ending(IntEnum):
    """Exit statuses of a stage that is conducted; a stage that a user starts has 1 for the last two as well."""

    FAILED = 1
    """By a fault, or nobody knows why."""
    REFUSED = 2
    """It was asked for what cannot be done."""
    OBSTRUCTED = 3
    """The machine stood in the way, as a full disk does, or something that lies in a folder."""
    UNFIT = 4
    """It has computed what cannot be used, or what a limit in the settings forbids."""


_HOW_TO_GO_ON = {
    Ending.FAILED: "failed, see above; the same command tries again from there",
    Ending.REFUSED: "cannot do what it was asked, see above; what is finished is used again when that has changed",
    Ending.OBSTRUCTED: "failed, see above; once that is mended the same command goes on from there",
    Ending.UNFIT: "stopped the run, see above; the same command would stop there again, so change the settings "
    "(what is finished is used again)",
}


def how_it_ended(status: int) -> str:
    """What to say of a stage with this exit status, negative for a signal, and how to go on.

    The stage itself has said what was wrong, unless a signal ended it.
    """
    number = status - 128 if status in {130, 143} else -status  # as `segkit` ends when interrupted or told to end
    if number > 0:
        hint = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"was ended by {_signal_name(number)}{hint}; the same command goes on from there"
    return _HOW_TO_GO_ON[Ending(status) if status in set(Ending) else Ending.FAILED]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
