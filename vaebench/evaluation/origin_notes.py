"""Keep a note of how a model or images from elsewhere were made, with every number that is measured of them."""

from dataclasses import replace

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.core.files import exclusive
from vaebench.core.paths import runs_dir
from vaebench.core.validation import plain_line
from vaebench.runs.record import RunFolder

LONGEST_NOTE = 2_000  # characters: a command, not a log


def check_note(text: str) -> None:
    """Refuse what is no note of one line.

    Raises:
        UserError: it has control characters or several lines, or is too long.
    """
    if text != plain_line(text):
        raise UserError("--command is a note of one line of plain text: leave line breaks and control characters away")
    if len(text) > LONGEST_NOTE:
        raise UserError(f"--command has {len(text):,} characters: give {LONGEST_NOTE:,} at most, such as the command")


def note_origin(name: str, text: str) -> None:
    """Write the note into the provenance of all results of these weights or images, those measured earlier included.

    Args:
        name: the folder's below ``external``: ``NAME`` or ``NAME@SEED``.
        text: the note; empty keeps what was noted of the same weights or images before.
    """
    folder = RunFolder(runs_dir() / "external" / name)
    if not folder.results.exists():
        return
    with exclusive(folder.path, wait=True):
        lines = results.read(folder.results)
        if not lines:
            return
        content = lines[-1].provenance.weights_sha256
        spoken_of = [line for line in results.latest(lines) if line.provenance.weights_sha256 == content]
        note = text or next((line.provenance.made_by for line in spoken_of if line.provenance.made_by), "")
        changed = [line for line in spoken_of if line.provenance.made_by != note]
        if changed:
            noted = [replace(line, provenance=replace(line.provenance, made_by=note)) for line in changed]
            results.append(folder.results, noted)
