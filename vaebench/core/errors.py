"""The exceptions that the command line turns into a single line and an exit code."""


class UserError(Exception):
    """Bad input or missing data: the message says what is wrong and how to mend it, in one line."""


class Busy(UserError):
    """Another process holds the lock."""


class Elsewhere(UserError):
    """Raised on ranks other than 0, which have nothing to add: rank 0 says what is wrong."""


class Interrupted(Exception):
    """The command was stopped by SIGINT or SIGTERM with everything saved: exit code 130. Empty if another process says
    so.
    """


def first_line(error: Exception) -> str:
    """The first line of an error's message, to stand in a sentence, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".: ")
