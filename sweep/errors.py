"""The one error that is the user's to mend."""


class InputError(ValueError):
    """What a user wrote cannot be run: `<thing> <value>: <what is wrong>. <what to do>.`, one line per fault."""
