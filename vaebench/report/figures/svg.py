"""Draw SVG as text: the pieces that figures are made of.

Shapes carry classes and no colours. A page colours them by its own style sheet; a drawing that is a file of its own
(``own_colours``) carries :data:`COLOURS`, on an opaque ground, so that it can be read on light and dark pages.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from vaebench.report.analysis.formatting import p_text, short

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


def picture(width: float, height: float, body: Iterable[str], title: str, own_colours: bool = False) -> str:
    """Return the whole drawing; ``title`` is what a screen reader says."""
    ground = f'<style>{COLOURS}</style><rect class="ground" width="100%" height="100%" rx="6"/>' if own_colours else ""
    size = f' width="{_n(width)}" height="{_n(height)}"' if own_colours else ""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {_n(width)} {_n(height)}"{size} role="img"'
    )
    return f'{head} aria-label="{escape(title)}">{ground}{"".join(body)}</svg>\n'


def text(x: float, y: float, content: str, css: str = "ink", anchor: str = "start") -> str:
    return f'<text class="{css}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(content)}</text>'


def fitted(x: float, y: float, content: str, letters: int, css: str = "ink", anchor: str = "start") -> str:
    """Cut a text to so many letters; a longer one ends in an ellipsis and shows itself in full on hovering."""
    if len(content) <= letters:
        return text(x, y, content, css, anchor)
    cut = escape(content[: letters - 1] + "…")
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


def cliques(ranks: Sequence[float], critical_difference: float) -> list[tuple[int, int]]:
    """Longest runs (first, last) of ascending ``ranks`` that span less than the critical difference."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(place for place in range(first, len(ranks)) if ranks[place] - rank < critical_difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def critical_difference_svg(
    names: Sequence[str],
    average_ranks: Sequence[float],
    critical_difference: float,
    p_value: float,
    blocks: Sequence[str],
    own_colours: bool = False,
) -> str:
    """Demsar's (2006) diagram: average ranks on an axis, names hanging from it, bars that join what is not different.

    ``blocks`` are the metrics that were ranked over, ``p_value`` is Friedman's. Empty for fewer than two names.
    """
    if len(names) < 2:
        return ""
    order = sorted(range(len(names)), key=lambda place: (average_ranks[place], names[place]))
    ranks, ordered = [average_ranks[place] for place in order], [names[place] for place in order]
    left, right, axis = 140.0, 340.0, 54.0
    highest = max(float(len(names)), 1 + critical_difference)

    def at(rank: float) -> float:
        return left + (rank - 1) / (highest - 1) * (right - left)

    joined = cliques(ranks, critical_difference)
    below = axis + 14 + 8 * len(joined)
    body = [line(at(1), 16, at(1 + critical_difference), 16, "bar", 2)]
    body += [line(at(end), 12, at(end), 20, "bar", 2) for end in (1, 1 + critical_difference)]
    body += [text(at(1 + critical_difference) + 8, 20, f"CD {critical_difference:.2f}", "faint")]
    body += [line(left, axis, right, axis, "axis", 1.5)]
    for whole in range(1, math.floor(highest) + 1):
        body += [line(at(whole), axis - 5, at(whole), axis, "axis", 1.5)]
        body += [text(at(whole), axis - 10, str(whole), "faint", "middle")]
    for level, (first, last) in enumerate(joined):
        height = axis + 10 + 8 * level
        body.append(line(at(ranks[first]) - 4, height, at(ranks[last]) + 4, height, "bar", 4))
    body += _hanging(ordered, ranks, at, (left, right), (axis, below))
    bottom = below + 30 * ((len(ordered) + 1) // 2) + 42
    says = f"Friedman p {_p(p_value)}, {len(blocks)} metrics; rank 1 is best"
    body.append(text((left + right) / 2, bottom - 8, says, "faint", "middle"))
    listed = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(ordered, ranks, strict=True))
    title = f"Average ranks: {listed}; critical difference {short(critical_difference)}"
    return picture(480, bottom, body, title, own_colours)


def _hanging(
    names: Sequence[str],
    ranks: Sequence[float],
    at: Callable[[float], float],
    edges: tuple[float, float],
    levels: tuple[float, float],
) -> list[str]:
    """Names, best first, on lines that hang from the axis, the better half on the left; ``levels``: axis, last bar."""
    half, found = (len(names) + 1) // 2, []
    for place, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        on_left = place < half
        depth = levels[1] + 30 * ((place if on_left else len(names) - 1 - place) + 1)
        edge, x, anchor = (edges[0] - 12, edges[0] - 16, "end") if on_left else (edges[1] + 12, edges[1] + 16, "start")
        found += [
            line(at(rank), levels[0], at(rank), depth, "interval"),
            line(at(rank), depth, edge, depth, "interval"),
        ]
        found += [
            fitted(x, depth - 2, name, 18, "ink", anchor),
            text(x, depth + 11, f"{rank:.2f}", "faint small", anchor),
        ]
    return found


def _p(value: float) -> str:
    said = p_text(value) if value < 1e-300 else f"{value:.2g}"
    return said if said.startswith("<") else f"= {said}"
