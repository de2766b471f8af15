"""Draw SVG as text: the pieces that figures are made of.

Shapes carry classes and no colours. A page colours them by its own style sheet; a drawing that is a file of its own
(``own_colours``) carries :data:`COLOURS`, on an opaque ground, so that it can be read on light and dark pages.
"""

import math
from collections.abc import Callable, Iterable
from html import escape

FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
COLOURS = (
    f"text{{font:12px {FONT}}}"
    ".ground{fill:#fff}.ink{fill:#1b1f24}.faint{fill:#59636e}.axis{stroke:#aab2bb}.interval{stroke:#59636e}"
    ".dot{fill:#59636e}.first{fill:#0b62a8;stroke:#0b62a8}.shared{fill:#fff;stroke:#0b62a8}"
    ".reference{stroke:#a3470c;fill:none}.diamond{fill:#a3470c}.bar{stroke:#1b1f24}"
    "@media (prefers-color-scheme:dark){"
    ".ground{fill:#14181d}.ink{fill:#e6e8eb}.faint{fill:#9aa4af}.axis{stroke:#59636e}.interval{stroke:#9aa4af}"
    ".dot{fill:#9aa4af}.first{fill:#6cb6ff;stroke:#6cb6ff}.shared{fill:#14181d;stroke:#6cb6ff}"
    ".reference{stroke:#f0a868;fill:none}.diamond{fill:#f0a868}.bar{stroke:#e6e8eb}}"
)


Scale = Callable[[float], float]  # from a metric's value to a place on an axis


def picture(
    width: float, height: float, body: Iterable[str], title: str, own_colours: bool = False, more_colours: str = ""
) -> str:
    """Return the whole drawing; ``title`` is what a screen reader says, ``more_colours`` rules of its own classes."""
    ground = (
        f'<style>{COLOURS}{more_colours}</style><rect class="ground" width="100%" height="100%" rx="6"/>'
        if own_colours
        else ""
    )
    size = f' width="{_n(width)}" height="{_n(height)}"' if own_colours else ""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {_n(width)} {_n(height)}"{size} role="img"'
    )
    return f'{head} aria-label="{escape(title)}">{ground}{"".join(body)}</svg>\n'


def text(x: float, y: float, content: str, css: str = "ink", anchor: str = "start") -> str:
    return f'<text class="{css}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(content)}</text>'


def fitted(
    x: float, y: float, content: str, letters: int, css: str = "ink", anchor: str = "start", ending: int = 0
) -> str:
    """Cut a text to so many letters; a longer one has an ellipsis before its last ``ending`` letters, and shows itself
    in full on hovering.
    """
    if len(content) <= letters:
        return text(x, y, content, css, anchor)
    kept = min(ending, letters - 2)
    cut = escape(content[: letters - 1 - kept] + "…" + content[len(content) - kept :])
    full = f"<title>{escape(content)}</title>"
    return f'<text class="{css}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{full}{cut}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css: str, width: float = 1, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    ends = f'x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"'
    return f'<line class="{css}" {ends} stroke-width="{_n(width)}"{dashed}/>'


def circle(x: float, y: float, radius: float, css: str) -> str:
    return f'<circle class="{css}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" stroke-width="2"/>'


def diamond(x: float, y: float, radius: float, css: str) -> str:
    path = f"M{_n(x)} {_n(y - radius)}L{_n(x + radius)} {_n(y)}L{_n(x)} {_n(y + radius)}L{_n(x - radius)} {_n(y)}Z"
    return f'<path class="{css}" d="{path}"/>'


def shifted(x: float, y: float, body: Iterable[str]) -> str:
    return f'<g transform="translate({_n(x)} {_n(y)})">{"".join(body)}</g>'


def _n(value: float) -> str:
    """Format a coordinate: two decimals at most, the same text everywhere."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def ticks(low: float, high: float, least: int = 3) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``, at least ``least``."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10(high - low))
    for step in (factor * power / shrink for shrink in (1, 10, 100) for factor in (5, 2, 1)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 >= least:
            return [position * step for position in range(first, last + 1)]
    return [low, high]  # an interval far from 0 and hardly wider than its numbers' last digits


def tick_text(value: float, step: float) -> str:
    """Format a tick's number, with the decimals that its step needs."""
    if step >= 1e6:
        return f"{value / 1e6:g}M"
    if step and step < 1e-4:
        return f"{value:.1e}" if value else "0"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step else 3
    return f"{value:,.{decimals}f}"
