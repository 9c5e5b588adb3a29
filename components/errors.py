"""The error that a user can act on."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one line that names the thing and the remedy; the command line prints it
    alone, without a traceback.
    """
