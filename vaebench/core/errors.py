"""The exceptions that the command line turns into a single line and an exit code."""


class UserError(Exception):
    """Bad input or missing data: the message says what is wrong and how to mend it, in one line."""


class Interrupted(Exception):
    """Asked to stop by SIGINT or SIGTERM, and stopped with everything saved: exit code 130."""
