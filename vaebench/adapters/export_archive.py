"""Check an archive of torch.export before torch reads it: torch would unpickle, import or evaluate parts of one."""

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaebench.core import input_files
from vaebench.core.errors import UserError

REMEDY = "export the model again by torch.export.save, as a plain program of tensors"
_OPERATORS = re.compile(r"torch\.ops\.(aten|prims|higher_order|torchvision)\.\w+(\.\w+)?|torch\.sym_\w+|math\.\w+")
_PYTHONS = re.compile(
    r"_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_|pos|abs)"
)
_NAMES = re.compile(
    r"[suzf]\d+|Symbol|Integer|Float|Rational|Add|Mul|Pow|Mod|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|FloorDiv|CeilDiv|"
    r"CleanDiv|ModularIndexing|PythonMod|IntTrueDiv|FloatTrueDiv|ToFloat|TruncToInt|FloorToInt|CeilToInt|RoundToInt|"
    r"Where|Identity|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|Equality|Unequality"
)
_NODES = (
    *(ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp, ast.Compare),
    *(ast.BoolOp, ast.operator, ast.unaryop, ast.cmpop, ast.boolop),
)


def refuse_code(path: Path) -> None:
    """Refuse an archive that holds more than tensors and a program of torch's own operators.

    torch.export.load evaluates the text of symbolic sizes, looks operators up by name in all of torch, unpickles
    objects, and loads compiled libraries: each is checked here.

    Raises:
        UserError: such a part is there, or the file is no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in names:
                if "aotinductor" in name or name.endswith((".so", ".py", ".cpp")) or "custom_obj" in name:
                    raise UserError(f"{path} holds {name}, which could run code: {REMEDY}")
            for name in names:
                if name.endswith(".json"):
                    input_files.check_size(
                        f"{name} in {path} holds", archive.getinfo(name).file_size, input_files.LOG, REMEDY
                    )
                    _refuse_in(json.loads(archive.read(name)), path)
    except (zipfile.BadZipFile, ValueError, RecursionError, KeyError) as error:
        raise UserError(f"{path} is no program of torch.export: {REMEDY}") from error


def _refuse_in(content: Any, path: Path) -> None:
    for key, value in _texts(content):
        if key == "target" and not _harmless_target(value):
            raise UserError(f"{path} calls {value[:80]!r}, which is no operator on tensors: {REMEDY}")
        if key == "expr_str" and not _harmless_size(value):
            raise UserError(f"{path} has a size {value[:80]!r}, which is no arithmetic: {REMEDY}")


def _texts(content: Any) -> Iterator[tuple[str, str]]:
    """Yield every pair of a name and a text, however deep."""
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, str):
                yield key, value
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)


def _harmless_target(target: str) -> bool:
    """Tell whether torch would look the name up nowhere, or among operators alone."""
    if not target.startswith(("torch", "_operator", "math", "#")):
        return True  # a name of the program's own
    return bool(_OPERATORS.fullmatch(target) or _PYTHONS.fullmatch(target))


def _harmless_size(text: str) -> bool:
    """Tell whether a symbolic size is arithmetic on symbols and numbers, which sympy would evaluate."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            return False
        if isinstance(node, ast.Name) and not _NAMES.fullmatch(node.id):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not re.fullmatch(r"\w{1,40}", node.value):
            return False
    return True
