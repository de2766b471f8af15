"""The exceptions that the command line turns into a single line and an exit code."""


class UserError(Exception):
    """Bad input or missing data: the message says what is wrong and how to mend it, in one line."""


class Busy(UserError):
    """Another process is at work where this one wants to be."""


class Elsewhere(UserError):
    """Of several processes at one job, one that has nothing to add: the first process says what is wrong."""


class Interrupted(Exception):
    """Asked to stop by SIGINT or SIGTERM, and stopped with everything saved: exit code 130. Empty: said elsewhere."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, to stand in a sentence, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".: ")
