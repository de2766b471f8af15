"""The exceptions that the command line turns into a single line and an exit code."""


class UserError(Exception):
    """Bad input or missing data: the message says what is wrong and how to mend it, in one line."""


class Interrupted(Exception):
    """Asked to stop by SIGINT or SIGTERM, and stopped with everything saved: exit code 130."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, to stand in a sentence, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".: ")
