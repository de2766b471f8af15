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

    Attributes:
        goes_on: what goes on from there, where the command has more than one way; empty for the command's usual one.
    """

    def __init__(self, message: str = "", *, goes_on: str = "") -> None:
        super().__init__(message)
        self.goes_on = goes_on


def first_line(error: Exception) -> str:
    """The first line of an error's message, to stand in a sentence, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".: ")
