"""YAML of plain data: mappings, lists, texts and finite numbers, written as versions 1.1 and 1.2 both read them."""

import json
import re
from collections.abc import Mapping, Sequence

Plain = str | bool | int | float | Mapping[str, "Plain"] | Sequence["Plain"]

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # in any case


def to_yaml(value: Plain) -> str:
    """Format a mapping or list in block style; the text ends with a line's end."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Plain) -> list[str]:
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in _entry(f"{_key(key)}:", item)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [line for item in value for line in _item(item)]
    return [_scalar(value)]


def _entry(head: str, item: Plain) -> list[str]:
    if isinstance(item, str | bool | int | float):
        return [f"{head} {_scalar(item)}"]
    if not item:
        return [f"{head} {'{}' if isinstance(item, Mapping) else '[]'}"]
    return [head, *(f"  {line}" for line in _lines(item))]


def _item(item: Plain) -> list[str]:
    if not isinstance(item, str) and isinstance(item, Mapping | Sequence) and not item:
        return [f"- {'{}' if isinstance(item, Mapping) else '[]'}"]
    first, *rest = _lines(item)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _key(key: str) -> str:
    return key if _KEY.fullmatch(key) and key.lower() not in _RESERVED else _text(key)


def _scalar(value: str | bool | int | float) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    mantissa, exponent, power = repr(value).partition("e")
    return mantissa + ("" if "." in mantissa else ".0") + exponent + power  # 1e-05 is a text in YAML 1.1


def _text(text: str) -> str:
    """Quote a text: JSON's quotes are YAML's, but for signs that are not printed."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in quoted)
