"""The base class of all errors that a user can cause and fix, and the two that most modules raise."""


class SweepError(Exception):
    """Its text is the whole message: the command line prints it and no traceback."""

    exit_status = 1


class InputError(SweepError, ValueError):
    """What a user wrote cannot be run: `<thing> <value>: <what is wrong>. <what to do>.`, one line per fault."""


class UsageError(InputError):
    """The command line has an unknown command or option, or lacks a word."""

    exit_status = 2
