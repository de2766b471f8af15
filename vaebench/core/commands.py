"""Write commands into messages so that they work when they are pasted into a shell."""

import shlex
from collections.abc import Sequence


def shown_command(words: Sequence[str]) -> str:
    """Return a command line between quotes, its own words quoted where a shell wants it: names may have brackets."""
    line = shlex.join(words)
    quote = '"' if "'" in line else "'"
    return f"{quote}{line}{quote}"
