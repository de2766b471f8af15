"""Accept a measured table as a baseline: margins that its seeds can decide, and the smallest worsening they catch."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import optimize, stats

from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.core.files import write_text
from vaebench.core.margin import Margin
from vaebench.core.subjects import REAL
from vaebench.report.analysis.formatting import to_text
from vaebench.report.gate.interval import Scale, Side, half_width, seeds_sides, side, spread
from vaebench.report.gate.student import TAIL, t_quantile
from vaebench.report.gate.table import Line, Table, read_table
from vaebench.statistics.planning import t_power

STRATUM = "all"  # the gate reads no other
MOST_DEVIATIONS = 6.0  # that a margin spans: what few seeds would need to be sure of their scatter, no gate could use
TWINS_PASS = 0.999  # of rows, where a recipe is trained again with other seeds: a table has dozens of them
POWER = 0.95
WORST_FACTOR, WORST_SHARE = 1.5, 0.1  # a worsening that a useful gate must catch: of errors and distances, of shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One row's margin as text, and the smallest worsening that is caught 95 times in 100.

    ``caught`` is a factor (1.4: 40 % worse) of values compared by their logarithms or held against real images', else
    in the metric's unit; None where the row is not gated, or has no scatter to tell.
    """

    line: Line
    margin: str
    caught: float | None
    as_factor: bool

    @property
    def words(self) -> str:
        """Return the smallest caught worsening as a table shows it; empty if it is unknown."""
        if self.caught is None:
            return ""
        return f"{'x' if self.as_factor else ''}{_rounded_up(self.caught, 3):.3g}"

    @property
    def useful(self) -> bool:
        """Tell whether it catches what a gate is for: half as much again of an error, 0.1 of a share."""
        if self.caught is None:
            return False
        if self.as_factor:
            return self.caught <= WORST_FACTOR
        return self.caught <= (WORST_SHARE if self.line.highest is not None else (WORST_FACTOR - 1) * _size(self.line))


def accept(new: Path, accepted: Path) -> list[str]:
    """Write the accepted table: the measured values over all images, margins and what each catches.

    Args:
        new: a ``leaderboard.csv``.
        accepted: the baseline to write, for ``vaebench check --baseline``.

    Returns:
        Lines for a terminal: a row a gated value, those that catch least first.

    Raises:
        UserError: a table cannot be read, holds no value of a model, or could catch nothing.
    """
    table = read_table(new)
    lines = [line for line in table.lines if line.of_a_model and line.value is not None]
    rows = {line.where: _accepted(line, table) for line in lines}
    gated = [row for row in rows.values() if row.margin not in ("", "none")]
    if not any(row.useful for row in gated):
        raise UserError(
            f"{new} could catch nothing as a baseline: no row has a margin and several training seeds that agree to "
            "half of its value; train more seeds or more steps, then measure again"
        )
    _write(new, table, rows, accepted)
    return _told(gated)


def _accepted(line: Line, table: Table) -> Accepted:
    """Choose the wider of the declared margin and what the seeds' scatter asks for."""
    real = table.like(line, REAL) if line.direction == "target" else None
    reference = abs(real.value) if real is not None and real.value is not None else _size(line)
    uncertain = side(line, "baseline")
    scale = Scale.of(line, line)
    if line.margin is None:
        return Accepted(line=line, margin="none", caught=None, as_factor=False)
    assert line.value is not None
    declared = scale.forth(line.margin.of(reference), line.value)
    if isinstance(uncertain, str) or line.seeds < 2 or uncertain.std_error == 0:
        return Accepted(line=line, margin=line.margin.text, caught=None, as_factor=False)
    uncertain = _between_seeds(line, scale.side(uncertain, line.value), scale)
    margin = max(declared, deviations(line.seeds) * uncertain.std_error * math.sqrt(line.seeds))
    text = line.margin.text if margin == declared else _text(abs(scale.back(margin, line.value)), reference, line)
    margin = scale.forth(Margin(text).of(reference), line.value)
    error, df = spread(uncertain, uncertain)
    assert df is not None
    caught = margin + error * _shift(df)
    if scale.logarithmic:
        return Accepted(line=line, margin=text, caught=math.exp(caught), as_factor=True)
    if line.direction == "target":
        return Accepted(line=line, margin=text, caught=1 + caught / reference, as_factor=True)
    return Accepted(line=line, margin=text, caught=caught, as_factor=False)


def _between_seeds(line: Line, uncertain: Side, scale: Scale) -> Side:
    """Return the scatter of the training seeds alone if that is what the gate will go by, else the row's own."""
    alone = seeds_sides(line, line, scale)
    if alone is None or half_width(*alone) >= half_width(uncertain, uncertain):
        return uncertain
    return alone[0]


@cache
def deviations(seeds: int) -> float:
    """Return how many standard deviations between training seeds a margin must span for reseeded twins to pass.

    A twin's row passes where the whole interval of its degradation lies within the margin: D + h <= k s, with D the
    difference of two means of ``seeds`` trainings, h the half of its interval and s the accepted seeds' deviation. D,
    s and the twin's deviation vary; k is such that :data:`TWINS_PASS` of rows pass. From more seeds the scatter is
    known better and means scatter less, so the margin is narrower (10 seeds: 3.5) and the gate catches more; with six
    or fewer :data:`MOST_DEVIATIONS` are the limit.

    Args:
        seeds: 2 or more, on each side.
    """
    nodes = (np.arange(400) + 0.5) / 400
    scatter = stats.chi2.ppf(nodes, seeds - 1) / (seeds - 1)  # of each side: its variance over the true one
    accepted, twin = scatter[:, None], scatter[None, :]
    both = accepted + twin
    df = (seeds - 1) * both**2 / (accepted**2 + twin**2)
    half = stats.t.ppf(1 - TAIL, df) * np.sqrt(both / seeds)

    def passing(margin: float) -> float:
        return float(stats.norm.cdf((margin * np.sqrt(accepted) - half) / math.sqrt(2 / seeds)).mean())

    if passing(MOST_DEVIATIONS) < TWINS_PASS:
        return MOST_DEVIATIONS
    return float(optimize.brentq(lambda margin: passing(margin) - TWINS_PASS, 0.0, MOST_DEVIATIONS))


def _size(line: Line) -> float:
    assert line.value is not None
    return abs(line.value)


def _text(margin: float, reference: float, line: Line) -> str:
    """Format a margin: a share in whole percent, rounded up, or of bounded values two digits in their unit."""
    if line.highest is not None or not reference:
        return f"{_rounded_up(margin, 2):.2g}"
    return f"{math.ceil(100 * margin / reference)}%"


def _rounded_up(value: float, digits: int) -> float:
    """Round a positive number up to so many significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) + 1 - digits)
    return math.ceil(value / unit - 1e-9) * unit


def _shift(df: float) -> float:
    """Return how many standard errors beyond the margin a degradation is called a regression 95 times in 100."""
    return float(optimize.brentq(lambda shift: t_power(shift, df) - POWER, 0.1, 40 * t_quantile(df)))


def _write(new: Path, table: Table, rows: Mapping[str, Accepted], accepted: Path) -> None:
    text = input_files.read_bytes(new, most=input_files.SMALL, remedy="give a leaderboard.csv").decode("utf-8-sig")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = [*dict.fromkeys([*(reader.fieldnames or []), "margin", "declared", "catches"])]
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for line, cells in zip(table.lines, reader, strict=True):
        if cells["stratum"] == STRATUM:
            row = rows.get(line.where)
            told = {"margin": row.margin, "declared": cells["margin"], "catches": row.words} if row else {}
            writer.writerow({**cells, **told})
    write_text(accepted, out.getvalue())


def _told(gated: list[Accepted]) -> list[str]:
    def size(row: Accepted) -> float:
        return (
            math.inf
            if row.caught is None
            else row.caught
            if row.as_factor
            else row.caught / max(_size(row.line), 1e-12)
        )

    body = [
        [row.line.recipe, f"{row.line.metric} ({row.line.protocol})", row.margin, row.words or "unknown: seeds agree"]
        for row in sorted(gated, key=lambda row: (-size(row), row.line.key))
    ]
    weak = sum(row.caught is not None and not row.useful for row in gated)
    said = to_text(["recipe", "metric", "margin", "smallest worsening caught 95 times in 100"], body)
    if weak:
        what = f"a factor of {WORST_FACTOR:g} of an error, {WORST_SHARE:g} of a share"
        said += ["", f"{weak} of {len(gated)} rows catch less than {what}: more training seeds or steps would."]
    return said
