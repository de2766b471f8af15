"""Compute the interval of a difference between two table values, and decide by it: pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vaebench.report.gate.student import TAIL, t_quantile
from vaebench.report.gate.table import Line

Verdict = Literal["regression", "missing", "undecided", "ok", "improved", "identical", "allowed"]

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


@dataclass(frozen=True, slots=True)
class Scale:
    """Scale on which two values are compared: their logarithms, or as they are.

    A degradation on the scale is positive where the candidate is worse; :meth:`back` turns one into the metric's unit.
    """

    logarithmic: bool
    sign: int  # of a degradation: 1 where lower is better, -1 where higher is

    @classmethod
    def of(cls, line: Line, partner: Line) -> "Scale":
        """Choose logarithms for values above a least value of 0 that no greatest value bounds."""
        values = (line.value, partner.value, *line.by_seed.values(), *partner.by_seed.values())
        positive = all(value is not None and value > 0 for value in values)
        open_above = line.lowest == 0 and line.highest is None
        return cls(positive and open_above and line.direction != "target", -1 if line.direction == "higher" else 1)

    def side(self, side: Side, value: float) -> Side:
        """Return a side's uncertainty on the scale."""
        return replace(side, std_error=side.std_error / value) if self.logarithmic else side

    def difference(self, line: Line, partner: Line, worse: float) -> float:
        """Return the degradation on the scale."""
        if not self.logarithmic:
            return worse
        assert line.value is not None and partner.value is not None
        return self.sign * math.log(partner.value / line.value)

    def forth(self, degradation: float, value: float) -> float:
        """Turn a degradation in the metric's unit, from ``value``, into one on the scale."""
        if not self.logarithmic:
            return degradation
        share = 1 + self.sign * degradation / value
        return self.sign * math.log(share) if share > 0 else math.inf

    def back(self, degradation: float, value: float) -> float:
        """Turn a degradation on the scale into the metric's unit."""
        return self.sign * value * math.expm1(min(self.sign * degradation, 700.0)) if self.logarithmic else degradation


def seeds_sides(line: Line, partner: Line, scale: Scale) -> tuple[Side, Side] | None:
    """Return the uncertainty of both sides by the scatter of their training seeds alone.

    A row's standard error speaks of other images, too. Two tables that compare were measured on the same ones, whose
    part in either value is the same, so that the values of a recipe and of its reseeded twin differ by less.
    None where a side has fewer than two seeds, or none of its own scatter.
    """
    sides = []
    for who, row in (("baseline", line), ("candidate", partner)):
        values = [math.log(value) if scale.logarithmic else value for value in row.by_seed.values()]
        if len(set(values)) < 2:
            return None
        sides.append(Side(who, _std_error(values), len(values) - 1.0, len(values), "seeds"))
    return sides[0], sides[1]


def _std_error(values: Sequence[float]) -> float:
    count, mean = len(values), sum(values) / len(values)
    return math.sqrt(sum((each - mean) ** 2 for each in values) / (count - 1) / count)


def paired_sides(line: Line, partner: Line, scale: Scale, real: float | None) -> tuple[Side, Side] | None:
    """Return the uncertainty of the mean difference seed by seed, as a candidate's beside an exact baseline's.

    None with a single seed. ``real`` is the real images' value that nearness counts to.
    """
    if len(line.by_seed) < 2:
        return None

    def on_scale(value: float) -> float:
        near = value if real is None else abs(value - real)
        return math.log(near) if scale.logarithmic else near

    differences = [on_scale(partner.by_seed[seed]) - on_scale(value) for seed, value in line.by_seed.items()]
    count = len(differences)
    return (
        Side("baseline", 0.0, 1.0, 1, "seeds"),
        Side("candidate", _std_error(differences), count - 1.0, count, "seeds"),
    )


def half_width(first: Side, second: Side, tail: float = TAIL) -> float:
    """Return half of the two-sided interval of the difference, ``tail`` beyond either end; 0 for exact values."""
    error, df = spread(first, second)
    return error * t_quantile(df, tail) if df is not None else 0.0


def decide(low: float, high: float, margin: float, digits: float = 0.0) -> Verdict:
    """Decide by an interval of the degradation; ``digits`` is how far the tables' rounding reaches."""
    if low > margin + digits:
        return "regression"
    if high > margin + digits:
        return "undecided"
    return "improved" if high < -margin - digits else "ok"


def needed(first: Side, second: Side, gap: float, *, seed_by_seed: bool = False) -> str:
    """Say how many seeds or images would make the interval's half as wide as the gap, at the same spread.

    ``seed_by_seed`` of :func:`paired_sides`: only seeds that both tables have can be told apart so.
    """
    varying = [side for side in (first, second) if side.std_error > 0]
    kinds = sorted({side.what for side in varying}, reverse=True)
    few = f"too few {' or '.join(kinds)}"
    if gap <= 0 or not varying:
        return f"{few}: the degradation is the margin itself, which no number of them decides"
    where = "on each side" if len(varying) > 1 else f"in the {varying[0].who}"
    where = ", the same in both tables" if seed_by_seed else f" {where}"
    if len(kinds) > 1:
        one = next(side.who for side in varying if side.what == "images")
        return f"{few}: train the {one} with several seeds, too"
    most = _MOST[kinds[0]]
    if half_width(first.with_count(most), second.with_count(most)) > gap:
        return f"{few}: more than {most:,}{where}, as the degradation is so near the margin"
    low, high = min(side.count for side in varying), most
    while low < high:
        middle = (low + high) // 2
        if half_width(first.with_count(middle), second.with_count(middle)) <= gap:
            high = middle
        else:
            low = middle + 1
    return f"{few}: at least {low:,}{where}, if their spread stays as it is"
