"""Plugins by name: imported lazily; name clashes are refused, and misspelt names get a suggestion."""

import ast
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from vaebench.core import own_code
from vaebench.core.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a plugin table.

    Attributes:
        target: ``module:attribute``; imported when asked for, not before.
        summary: one line for ``vaebench list``.
        origin: ``built-in``, or the package that brings it.
        needs: other entries it needs, as ``datasets:mnist`` or ``perceptual:mnist_cnn``.
        files: files it reads: a dataset's relative to ``VAEBENCH_DATA`` (a ``.gz`` beside the name serves too), a
            network's in ``VAEBENCH_WEIGHTS`` or torch hub's checkpoint directory; ``a|b`` where either serves.
        fetch: ``module:attribute`` of a function that gets a network's weights: called with a path or ``None``.
        mend: what gets missing files; empty for ``vaebench fetch NAME``.
    """

    target: str
    summary: str
    origin: str = "built-in"
    needs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    fetch: str = ""
    mend: str = ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest name, ``did you mean 'x'?``, or list all if none is near."""
    names = sorted(known)
    if not names:
        return "there is none yet"
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(names)}"


@cache
def _entry_points_of() -> Callable[..., Iterable[EntryPoint]]:
    """Return a function from ``group=`` to entry points; packages are searched once a process, for all groups together.

    A search reads a file of every package, and packages may be many and lie on a slow disk.
    """
    return entry_points().select


@cache
def installed(group: str) -> tuple[tuple[str, Entry], ...]:
    """Return names and entries that installed packages bring under ``group``."""
    found = []
    for point in _entry_points_of()(group=group):
        package = point.dist.name if point.dist else "an unknown package"
        summary = point.dist.metadata["Summary"] if point.dist and "Summary" in point.dist.metadata else ""
        found.append((point.name, Entry(target=point.value, summary=summary, origin=package)))
    return tuple(found)


class Registry(Generic[T]):
    """Built-in entries and those of installed packages under one entry-point group."""

    def __init__(self, kind: str, builtins: Mapping[str, Entry]) -> None:
        self.kind = kind
        self.group = f"vaebench.{kind}"
        self._builtins = dict(builtins)

    @property
    def singular(self) -> str:
        """One entry's kind in messages."""
        return {"perceptual": "perceptual network"}.get(self.kind, self.kind.removesuffix("s"))

    def entries(self) -> dict[str, list[Entry]]:
        """Every name with who claims it; more than one claim is a clash, refused when the name is asked for."""
        found = {name: [entry] for name, entry in self._builtins.items()}
        for name, entry in installed(self.group):
            found.setdefault(name, []).append(entry)
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        """All names, sorted."""
        return list(self.entries())

    def get(self, name: str) -> T:
        """Import and return what ``name`` stands for; :class:`UserError` for unknown, clashing or broken names."""
        entries = self.entries()
        if name not in entries and name.endswith(".py"):
            raise UserError(without_attribute(name))
        if name not in entries:
            raise UserError(f"no {self.singular} is named '{name}': {did_you_mean(name, entries)}")
        if len(entries[name]) > 1:
            claims = ", ".join(entry.origin for entry in entries[name])
            raise UserError(f"{self.kind} name '{name}' is claimed twice ({claims}): uninstall or rename one")
        loaded: T = self._load(name, entries[name][0], entries[name][0].target)
        return loaded

    def fetcher(self, name: str) -> Callable[[Path | None], str] | None:
        """The function that gets what ``name`` reads, where its entry has one."""
        entry = self.entries()[name][0]
        loaded: Callable[[Path | None], str] | None = self._load(name, entry, entry.fetch) if entry.fetch else None
        return loaded

    def _load(self, name: str, entry: Entry, target: str) -> Any:
        module, _, attribute = target.partition(":")
        if entry.origin != "built-in":
            own_code.note_plugin(module)
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            origin = f"{self.kind} plugin '{name}' from {entry.origin} fails to load"
            raise UserError(f"{origin} ({reason}): mend or uninstall it; --debug shows the traceback") from error


def docstring_of(target: str) -> str:
    """Return the first paragraph of the docstring of ``module:attribute``, on one line, without importing it.

    Empty where the module's source cannot be found, or the attribute is not defined in it by ``def`` or ``class``.
    """
    module, _, attribute = target.partition(":")
    try:
        path = _source_of(module)
        tree = ast.parse(path.read_bytes()) if path else ast.Module([], [])
    except (OSError, SyntaxError, ValueError, ImportError):
        return ""
    for part in tree.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and part.name == attribute:
            return " ".join((ast.get_docstring(part) or "").partition("\n\n")[0].split())
    return ""


def _source_of(module: str) -> Path | None:
    """Find a module's file: only its top-level package is looked up, since looking further would run that package."""
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin else None
    for folder in spec.submodule_search_locations or ():
        below = Path(folder, *inner)
        for path in (below.with_suffix(".py"), below / "__init__.py"):
            if path.is_file():
                return path
    return None


def defined_in(path: Path) -> list[str]:
    """List the public functions and classes that a Python file defines, without running it; none if it is broken."""
    try:
        tree = ast.parse(path.expanduser().read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [part.name for part in tree.body if isinstance(part, kinds) and not part.name.startswith("_")]


def without_attribute(given: str) -> str:
    """Say what to write where a file is named without what is meant in it."""
    if not Path(given).expanduser().is_file():
        return f"{given} does not exist: give ./file.py:function"
    names = defined_in(Path(given))
    which = f", where NAME is one of {', '.join(names)}" if names else "; it defines no function or class yet"
    return f"{given} is named without what is meant in it: write {given}:NAME{which}"


def load_file_attribute(reference: str) -> Any:
    """Import what ``./file.py:function`` names; :class:`UserError` if the file or the function is missing or broken.

    This runs the file: call it only for a file that the user has named.
    """
    path_text, _, attribute = reference.rpartition(":")
    module = load_module(Path(path_text))
    if not hasattr(module, attribute):
        public = defined_in(Path(path_text)) or [name for name in vars(module) if not name.startswith("_")]
        raise UserError(f"{path_text} has no '{attribute}': {did_you_mean(attribute, public)}")
    return getattr(module, attribute)


def load_module(given: Path) -> ModuleType:
    """Import a Python file that the user has named; :class:`UserError` if it is missing or broken."""
    path = given.expanduser().resolve()
    if not path.is_file():
        raise UserError(f"{given} does not exist: give ./file.py:function")
    spec = importlib.util.spec_from_file_location(f"vaebench_user_{path.stem}", path)
    if spec is None:
        raise UserError(f"{given} is no Python file: give ./file.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    own_code.note_file(path)
    try:
        # what stands in that very file: a loader would write compiled code beside it, or run what lies there
        exec(compile(path.read_bytes(), path, "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        place = own_code.place_of(error)
        mend = f"mend it ({place})" if place else "mend it"  # a syntax error names its line itself
        raise UserError(f"{given} fails to load ({reason}): {mend}; --debug shows the traceback") from error
    return module
