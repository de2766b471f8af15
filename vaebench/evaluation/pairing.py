"""Find each real image's partner by name, so that a missing file is said and never shifts all that follow."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from vaebench.core.errors import UserError
from vaebench.core.validation import plain_line
from vaebench.datasets.images.recognising import readable, stem

_AWAY = "or leave --paired away"


def partners(made: Sequence[str], real: Sequence[str], where: str, reference: str) -> Tensor:
    """Find the row of each real image's partner.

    Names are compared without the suffix of an image file: as whole paths, or where these do not fit, without their
    folders, or without leading zeros. Capitals count; composed and decomposed letters (Unicode's NFC and NFD) are one.

    Args:
        made: names of the images.
        real: ids of the reference's images.
        where: the images lie, and ``reference``: the real ones' name, for messages.

    Returns:
        int64 (len(real),): rows of ``made``.

    Raises:
        UserError: two images of one side have one name, or an image of either side lacks a partner.
    """
    best: tuple[list[str], list[str]] | None = None
    for key in (stem, _bare, _numbered):
        rows, wanted = _rows(made, key), _rows(real, key)
        if rows is None or wanted is None:
            continue
        alone, missing = sorted(rows.keys() - wanted.keys()), sorted(wanted.keys() - rows.keys())
        if not alone and not missing:
            return torch.tensor([rows[key(name)] for name in real], dtype=torch.int64)
        if best is None or len(alone) + len(missing) < len(best[0]) + len(best[1]):
            best = alone, missing
    if best is None:
        raise UserError(f"{_twice(made, where) or _twice(real, reference)}: give each image a name of its own, {_AWAY}")
    alone, missing = best
    advice = "give partners the same name" if alone else f"give each of the {len(real):,} images one"
    raise UserError(f"{_lacking(alone, missing, where, reference)}: {advice}, {_AWAY}")


def _bare(name: str) -> str:
    return stem(name).rpartition("/")[2]


def _numbered(name: str) -> str:
    bare = _bare(name)
    return bare.lstrip("0") or "0" if bare.isascii() and bare.isdigit() else bare


def _rows(names: Sequence[str], key: Callable[[str], str]) -> Mapping[str, int] | None:
    """Map keys to rows; None where two names have one key."""
    rows = {key(name): row for row, name in enumerate(names)}
    return rows if len(rows) == len(names) else None


def _twice(names: Sequence[str], where: str) -> str:
    seen: dict[str, str] = {}
    for name in names:
        if (key := stem(name)) in seen:
            return f"{where} holds {_shown(seen[key])} and {_shown(name)}, which cannot be told apart as partners"
        seen[key] = name
    return ""


def _lacking(alone: Sequence[str], missing: Sequence[str], where: str, reference: str) -> str:
    said = []
    if alone:
        said.append(f"image '{_shown(alone[0])}' of {where} has no partner in {reference}{_more(alone)}")
    if missing:
        none = "none" if alone else "no partner"
        said.append(f"image '{_shown(missing[0])}' of {reference} has {none} in {where}{_more(missing)}")
    folded = {name.casefold(): name for name in missing}
    near = next((name for name in alone if name.casefold() in folded), None)
    hint = "" if near is None else f" ({_shown(near)} and {_shown(folded[near.casefold()])} differ in capitals)"
    return ", and ".join(said) + hint


def _more(names: Sequence[str]) -> str:
    others = len(names) - 1
    return f" (nor {'has 1 other' if others == 1 else f'have {others:,} others'})" if others else ""


def _shown(name: str) -> str:
    return plain_line(readable(name))
