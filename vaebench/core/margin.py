"""Margins: what difference matters, absolute in a metric's unit or as a share of a value, as text in tables."""

import re
from dataclasses import dataclass

from vaebench.core.errors import UserError

_AMOUNT = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?", re.ASCII)
MIXED = "mixed settings"  # begins the note of a row whose seeds were not trained alike: no such value is gated
_LARGEST = 1e100  # beyond it, differences and shares could overflow


@dataclass(frozen=True, slots=True)
class Margin:
    """The largest difference that does not matter: absolute, or a share of a reference value."""

    text: str

    def of(self, reference: float) -> float:
        """In the metric's unit."""
        if self.text.endswith("%"):
            return float(self.text[:-1]) / 100 * abs(reference)
        return float(self.text)


def read_margin(text: str, where: str) -> Margin | None:
    """``0.01``, ``5%``, or ``None`` for ``none`` and nothing; :class:`UserError`, naming ``where``, for the rest."""
    if text in ("", "none"):
        return None
    if not _AMOUNT.fullmatch(text) or float(text.rstrip("%")) > _LARGEST:
        raise UserError(f"{where}: margin {text!r} is none: write 0.01 (absolute), 5% (a share of the value) or none")
    return Margin(text)
