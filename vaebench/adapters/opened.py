"""Open the model that ``--model SPEC`` names: a function of the user's own, or what an adapter reads."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vaebench.adapters import ADAPTERS
from vaebench.adapters.wrapped import WrappedModel, of_module
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import sha256_of
from vaebench.core.image_model import ImageModel
from vaebench.core.model import GenerativeModel
from vaebench.core.opening import Opening
from vaebench.core.registry import did_you_mean, load_file_attribute, without_attribute
from vaebench.runs.recipe_files import is_file_reference
from vaebench.runs.trained_model import TrainedModel

FORMS = "./file.py:function, module:function, or one of {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedModel:
    """A model, and the hash of all that decides what it does: weights, source file, how it was opened."""

    model: ImageModel
    sha256: str


def open_model(what: Any, opening: Opening) -> OpenedModel:
    """Open a model: a SPEC, or the model itself (:func:`as_model`).

    Raises:
        UserError: it is none.
    """
    if isinstance(what, str):
        return open_spec(what, opening)
    return _made(what, what, opening, name_of(what))


def open_spec(spec: str, opening: Opening) -> OpenedModel:
    """Open what ``SPEC`` names.

    A file or a module is imported, which runs it: the user has named it.

    Raises:
        UserError: it names nothing, or what it names is no model.
    """
    prefix, colon, what = spec.partition(":")
    if colon and prefix in ADAPTERS.names():
        if not what:
            raise UserError(f"--model {spec} names nothing behind the colon: 'vaebench list adapters' shows the forms")
        adapter = ADAPTERS.get(prefix)
        try:
            model = as_model(adapter(what, opening), opening, spec)
        except Exception as error:
            raise fault_of(error, spec) from error
        files = [Path(part.strip()).expanduser() for part in what.split(",")]
        return _opened(model, opening, _hash_of_files(files) or f"{prefix}:{what}")
    if not colon and spec.endswith(".py"):
        raise UserError(without_attribute(spec))
    if not colon or not what:
        raise UserError(f"--model {spec!r} names no model: write {FORMS.format(', '.join(_forms()))}")
    function = _function(spec)
    try:
        found = _called(function, spec, opening)
    except Exception as error:
        raise fault_of(error, spec) from error
    return _made(found, function, opening, spec)


def _made(found: Any, source: Any, opening: Opening, name: str) -> OpenedModel:
    """Make the model of what was found in, or returned by, ``source``; an error in it is the user's."""
    try:
        model = as_model(found, opening, name)
    except Exception as error:
        raise fault_of(error, name) from error
    return _opened(model, opening, _hash_of_source(source))


def name_of(what: Any) -> str:
    """Name a model for messages: its SPEC, or the name of its function or class."""
    if isinstance(what, str):
        return what
    return str(getattr(what, "__name__", type(what).__name__))


def _forms() -> list[str]:
    return [f"{name}:..." for name in ADAPTERS.names()]


def _function(spec: str) -> Any:
    name, _, attribute = spec.rpartition(":")
    if is_file_reference(spec):
        _let_import(Path(name).expanduser().resolve().parent)
        return load_file_attribute(spec)
    if "/" in name or not all(part.isidentifier() for part in name.split(".")):
        hint = did_you_mean(name, ADAPTERS.names())
        raise UserError(f"--model {spec} names no model ({hint}): write {FORMS.format(', '.join(_forms()))}")
    _let_import(Path.cwd())
    try:
        module = importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            hint = did_you_mean(name, ADAPTERS.names())
            raise UserError(
                f"--model {spec} names no model: there is no module and no adapter '{name}' ({hint})"
            ) from error
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(
            f"--model {spec}: the module {name} does not load ({reason}): mend it or name another"
        ) from error
    if not hasattr(module, attribute):
        raise UserError(f"{name} has no '{attribute}': {did_you_mean(attribute, vars(module))}")
    return getattr(module, attribute)


def _let_import(folder: Path) -> None:
    """Let the user's file import what lies beside it; names of installed packages keep their meaning."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _called(function: Any, spec: str, opening: Opening) -> Any:
    """Call the user's function for its model; an error in it is the user's, and said with file and line."""
    if isinstance(function, ImageModel | nn.Module):
        return function
    if not callable(function):
        raise UserError(f"{spec} is a {type(function).__name__}: name a function that returns the model")
    if _is_sampler(function):
        return function
    known = inspect.signature(function).parameters
    given = {"image_shape": opening.image_shape} if "image_shape" in known else {}
    return function(**given)


def _is_sampler(function: Callable[..., Any]) -> bool:
    """Tell whether a function draws images itself: it takes their number and a generator."""
    names = list(inspect.signature(function).parameters)
    return not inspect.isclass(function) and len(names) == 2 and names[1] == "generator"


def fault_of(error: Exception, spec: str) -> UserError:
    """Say an error in a user's model with the file and line where it happened."""
    if isinstance(error, UserError):
        return error
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code.co_filename
        if "vaebench" not in Path(code).parts and "torch" not in Path(code).parts and Path(code).is_file():
            place = f", {code}:{trace.tb_lineno}"
        trace = trace.tb_next
    reason = f"{type(error).__name__}: {first_line(error)[:200]}"
    return UserError(f"{spec} fails ({reason}{place}): mend it; --debug shows the traceback")


def as_model(found: Any, opening: Opening, spec: str) -> ImageModel:
    """Make an :class:`ImageModel` of what a function returned: a model, a module, or a sampler.

    Raises:
        UserError: it is none of these.
    """
    if isinstance(found, ImageModel):
        return found.to(opening.device)
    if isinstance(found, GenerativeModel):
        return TrainedModel(found.eval().requires_grad_(False), opening.image_shape).to(opening.device)
    if isinstance(found, nn.Module):
        return of_module(found, opening)
    if callable(found) and _is_sampler(found):
        return WrappedModel(opening, sample=found)
    raise UserError(
        f"{spec} gives a {type(found).__name__}, no model: return an ImageModel, a torch module with encode or decode, "
        "or a function (n, generator) -> images"
    )


def _opened(model: ImageModel, opening: Opening, source: str) -> OpenedModel:
    """Hash all that decides what a model does: weights, the files its classes stand in, how it was opened."""
    digest = hashlib.sha256(f"{source} {opening.precision} {opening.low} {opening.high}".encode())
    modules = model.modules if isinstance(model, WrappedModel) else _modules_of(model)
    for file in sorted({file for module in modules for file in _files_of(module)} | {_file_of(type(model))} - {""}):
        digest.update(sha256_of(Path(file)).encode())
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            if isinstance(tensor, Tensor):
                digest.update(name.encode())
                digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return OpenedModel(model=model, sha256=digest.hexdigest())


def _modules_of(model: ImageModel) -> list[nn.Module]:
    return [part for part in vars(model).values() if isinstance(part, nn.Module)]


def _files_of(module: nn.Module) -> set[str]:
    """List the files of the user's own in which a module's classes and those of its parts stand."""
    return {_file_of(type(part)) for part in module.modules()} - {""}


def _file_of(kind: Any) -> str:
    """Return the file that a class or function stands in; empty for what is built in or of an installed package."""
    try:
        file = inspect.getsourcefile(kind) or ""
    except (TypeError, OSError):
        return ""
    return file if Path(file).is_file() and "site-packages" not in Path(file).parts else ""


def _hash_of_source(what: Any) -> str:
    """Hash the file that a function stands in: an edited model is another one."""
    file = _file_of(type(what) if isinstance(what, nn.Module | ImageModel) else what)
    return sha256_of(Path(file)) if file else ""


def _hash_of_files(paths: list[Path]) -> str:
    found = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return " ".join(sha256_of(file) for file in found if file.is_file())
