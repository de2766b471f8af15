"""Compute the quantile of Student's t: loading scipy takes longer than a whole check."""

import math
from statistics import NormalDist

TAIL = 0.025  # of a two-sided 95 % interval


def t_quantile(df: float, tail: float = TAIL) -> float:
    """Return Student's t that ``tail`` lies above, to ten digits, for 1 or more degrees of freedom.

    Newton's iteration on the tail's probability, which is convex beyond the normal quantile: it comes from below and
    never oversteps. For many degrees of freedom the expansion of Abramowitz and Stegun, 26.7.5.
    """
    t = NormalDist().inv_cdf(1 - tail)
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
        step = (_tails(t, df, scale) - 2 * tail) / (2 * density)
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
