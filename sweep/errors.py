"""Base class of all errors that a user can cause and fix, and the two most common ones."""


class SweepError(Exception):
    """An error whose text is the whole message; the command line prints it without a traceback."""

    exit_status = 1


class InputError(SweepError, ValueError):
    """Invalid user input: `<field> <value>: <what is wrong>. <what to do>.`, one line per fault."""


class UsageError(InputError):
    """Unknown command or option, or a missing argument."""

    exit_status = 2
