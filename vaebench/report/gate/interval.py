"""Compute the interval of a difference between two table values, and decide by it: pure functions.

The quantile of Student's t is computed here, as loading scipy takes longer than a whole check.
"""

import math
from dataclasses import dataclass
from typing import Literal

from vaebench.report.gate.table import Line

Verdict = Literal["regression", "missing", "undecided", "ok", "improved", "allowed"]

_ALPHA, _NORMAL = 0.05, 1.959963984540054  # a two-sided 95 % interval, and the normal distribution's quantile
_MOST = {"seeds": 10_000, "images": 1_000_000_000}  # more than that is no advice


@dataclass(frozen=True, slots=True)
class Side:
    """The uncertainty of one value: a standard error, and over how many seeds or images it was taken."""

    who: str
    std_error: float
    df: float
    count: int
    what: Literal["seeds", "images"]

    def with_count(self, count: int) -> "Side":
        """Return the same spread over more seeds or images; never over fewer."""
        count = max(count, self.count)
        error = self.std_error * math.sqrt(self.count / count)
        return Side(self.who, error, self.df + count - self.count, count, self.what)


def side(line: Line, who: str) -> Side | str:
    """Return the uncertainty of a row's value, or why it is unknown. Exact values have a standard error of 0.

    Where the table does not say the degrees of freedom (older ones), they are one fewer than seeds, or images.
    """
    what: Literal["seeds", "images"] = "seeds" if line.seeds > 1 else "images"
    count = line.seeds if line.seeds > 1 else line.n
    if line.std_error is None:
        have = f"{line.seeds} seeds" if line.seeds > 1 else "one checkpoint"
        return f"no interval: the {who} has {have} and no standard error; measure more seeds"
    if line.df is None and count < 2 and line.std_error:
        return f"no interval: the {who}'s standard error has no degrees of freedom; measure more seeds"
    return Side(who, line.std_error, line.df if line.df is not None else max(count - 1, 1), max(count, 1), what)


def spread(first: Side, second: Side) -> tuple[float, float | None]:
    """Return the standard error of the difference, and Welch and Satterthwaite's degrees of freedom; none for exact
    values.

    It holds for distances to a target, too: |.| is 1-Lipschitz, so |value - target| varies no more than the value.
    (Within a few standard errors of the target both tails of the value are on the worse side of it, so that there
    2.5 % may become 5 %, where the other side is exact and the margin is small beside the standard error.)
    """
    error = math.hypot(first.std_error, second.std_error)
    if error == 0:
        return 0.0, None
    # shares of the variance: squares of tiny standard errors would underflow
    shares = [(side.std_error / error) ** 2 for side in (first, second)]
    return error, 1 / sum(share**2 / side.df for share, side in zip(shares, (first, second), strict=True))


def t_quantile(df: float) -> float:
    """Return Student's t that 2.5 % lie above, to ten digits, for 1 or more degrees of freedom.

    Newton's iteration on the tail's probability, which is convex beyond the normal quantile: it comes from below and
    never oversteps. For many degrees of freedom the expansion of Abramowitz and Stegun, 26.7.5.
    """
    t = _NORMAL
    if df > 200:
        terms = (
            (t**3 + t) / 4,
            (5 * t**5 + 16 * t**3 + 3 * t) / 96,
            (3 * t**7 + 19 * t**5 + 17 * t**3 - 15 * t) / 384,
            (79 * t**9 + 776 * t**7 + 1482 * t**5 - 1920 * t**3 - 945 * t) / 92160,
        )
        return t + sum(term / df**power for power, term in enumerate(terms, 1))
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi * df)
    for _ in range(100):
        density = scale * (1 + t * t / df) ** (-(df + 1) / 2)
        step = (_tails(t, df, scale) - _ALPHA) / (2 * density)
        t += step
        if abs(step) < 1e-12 * t:
            break
    return t


def _tails(t: float, df: float, scale: float) -> float:
    """Return both tails beyond ``t``: the regularised incomplete beta function I_x(df / 2, 1 / 2) at x = df / (df +
    t²).

    Its continued fraction (DLMF 8.17.22), taken from the hundredth coefficient back; ``scale`` is the density at 0.
    """
    a, b, x = df / 2, 0.5, df / (df + t * t)
    fraction = 1.0
    for m in range(50, -1, -1):
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        fraction = 1 + odd / fraction
        if m:
            even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
            fraction = 1 + even / fraction
    # 1 / (a B(a, b)) = 2 scale / sqrt(df)
    return math.pow(x, a) * math.sqrt(1 - x) * 2 * scale / math.sqrt(df) / fraction


def half_width(first: Side, second: Side) -> float:
    """Return half of the two-sided 95 % interval of the difference; 0 for exact values."""
    error, df = spread(first, second)
    return error * t_quantile(df) if df is not None else 0.0


def decide(low: float, high: float, margin: float, digits: float = 0.0) -> Verdict:
    """Decide by an interval of the degradation; ``digits`` is how far the tables' rounding reaches."""
    if low > margin + digits:
        return "regression"
    if high > margin + digits:
        return "undecided"
    return "improved" if high < -margin - digits else "ok"


def needed(first: Side, second: Side, gap: float) -> str:
    """Say how many seeds or images would make the interval's half as wide as the gap, at the same spread."""
    varying = [side for side in (first, second) if side.std_error > 0]
    kinds = sorted({side.what for side in varying}, reverse=True)
    few = f"too few {' or '.join(kinds)}"
    if gap <= 0 or not varying:
        return f"{few}: the degradation is the margin itself, which no number of them decides"
    where = "on each side" if len(varying) > 1 else f"in the {varying[0].who}"
    if len(kinds) > 1:
        one = next(side.who for side in varying if side.what == "images")
        return f"{few}: train the {one} with several seeds, too"
    most = _MOST[kinds[0]]
    if half_width(first.with_count(most), second.with_count(most)) > gap:
        return f"{few}: more than {most:,} {where}, as the degradation is so near the margin"
    low, high = min(side.count for side in varying), most
    while low < high:
        middle = (low + high) // 2
        if half_width(first.with_count(middle), second.with_count(middle)) <= gap:
            high = middle
        else:
            low = middle + 1
    return f"{few}: at least {low:,} {where}, if their spread stays as it is"
