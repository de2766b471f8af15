"""Recipes in a user's own files: which of them a run's record may import, and who allowed it.

A record names its recipe. A registered name is looked up; a path would be imported, which runs whatever stands in that
file, so a record alone never decides it. The file runs where the user names it on this command line
(``--recipe-file``), or where the run was trained in this very runs folder, by this user, from a file that has not
changed since: training notes that in ``VAEBENCH_CACHE/trusted_recipes.json``, outside of every runs folder.
"""

import json
import shlex
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaebench.core import input_files, validation
from vaebench.core.errors import UserError
from vaebench.core.files import exclusive, make_dir, sha256_of, write_text
from vaebench.core.paths import cache_dir
from vaebench.core.registry import did_you_mean, load_file_attribute, load_module
from vaebench.core.validation import Text, Token, plain_line

_named: ContextVar[str | None] = ContextVar("recipe file named on this command line", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """A function in a file that a run was trained from here."""

    runs: Text  # the runs folder, absolute
    file: Text
    function: Text
    sha256: Token


def is_file_reference(reference: str) -> bool:
    """Tell whether a recipe is named as ``path.py:function``."""
    return ".py:" in reference


def split_reference(reference: str) -> tuple[str, str]:
    """Split ``path.py:function`` into path and function."""
    path, _, function = reference.rpartition(":")
    return path, function


def allow(given: str | None) -> str | None:
    """Store this command's ``--recipe-file``: ``./mine.py``, ``./mine.py:function``, or ``None``.

    Returns:
        What was given.

    Raises:
        UserError: there is no such file.
    """
    if given is not None and not Path(_file_of(given)).is_file():
        raise UserError(f"--recipe-file {given}: there is no such file: give the file that holds the run's recipe")
    _named.set(given)
    return given


def _file_of(given: str) -> str:
    return split_reference(given)[0] if is_file_reference(given) else given


def list_file() -> Path:
    """Path of the list of trusted files."""
    return cache_dir() / "trusted_recipes.json"


def trust(reference: str, runs: Path) -> None:
    """Record that this user trains from ``path.py:function`` into a runs folder.

    The user named the file on the command line that is running. A cache that is not writable notes nothing.
    """
    path, function = split_reference(reference)
    entry = Trusted(runs=str(runs.resolve()), file=path, function=function, sha256=sha256_of(Path(path)))
    try:
        folder = make_dir(cache_dir())
        with exclusive(folder, wait=True):
            known = [other for other in _known() if entry_key(other) != entry_key(entry)]
            write_text(list_file(), json.dumps([asdict(each) for each in [*known, entry]], indent=1) + "\n")
    except UserError:  # then the file has to be named again
        return


def entry_key(entry: Trusted) -> tuple[str, str, str]:
    """Key of an entry in the list; its hash is replaced when the file has changed."""
    return entry.runs, entry.file, entry.function


def _known() -> list[Trusted]:
    """Read the list; empty if it is missing or damaged, since nothing is trusted then."""
    try:
        content = input_files.read_bytes(list_file(), most=input_files.SMALL, remedy="delete it")
        return validation.from_json(content, list[Trusted], str(list_file()), "delete it")
    except (FileNotFoundError, UserError):
        return []


def recipe_function(reference: str, run: Path) -> Callable[[], Any]:
    """Import the function behind ``path.py:function`` of a run's record, if the user has allowed it.

    Args:
        reference: as the record has it.
        run: the run's folder.

    Raises:
        UserError: nobody has allowed it, with the command that does; or the file is missing or broken.
    """
    path, function = split_reference(reference)
    named = _named.get()
    if named is not None and Path(_file_of(named)).name == Path(path).name:
        return _from_named(named, function)
    if named is None and _is_trusted(path, function, run):
        loaded: Callable[[], Any] = load_file_attribute(reference)
        return loaded
    mend = f"--recipe-file {shlex.quote(path)}"
    if not Path(path).is_file():
        mend = f"--recipe-file FILE, your own {shlex.quote(Path(path).name)}"
    what = f"{run} is of a recipe in a file, {path}, which is not run unless you name it"
    raise UserError(plain_line(f"{what}: look into the file, then add {mend}"))


def _is_trusted(path: str, function: str, run: Path) -> bool:
    runs = str(run.resolve().parent.parent)
    entries = [entry for entry in _known() if entry_key(entry) == (runs, path, function)]
    return bool(entries) and Path(path).is_file() and sha256_of(Path(path)) == entries[0].sha256


def _from_named(named: str, function: str) -> Callable[[], Any]:
    """Import the record's function from the file that the user named; only one that this file itself defines is
    called.
    """
    if is_file_reference(named):
        loaded: Callable[[], Any] = load_file_attribute(named)
        return loaded
    module = load_module(Path(named))
    own = {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }
    if function not in own:
        raise UserError(plain_line(f"{named} defines no function '{function}': {did_you_mean(function, own)}"))
    chosen: Callable[[], Any] = own[function]
    return chosen
