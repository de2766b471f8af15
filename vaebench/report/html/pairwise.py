"""Lay out every model against every other, by the test that decides; a click shows all tests of the pair."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaebench.core.subjects import title_of
from vaebench.report.analysis.comparisons import FLOOR, Row, deciding
from vaebench.report.analysis.formatting import short
from vaebench.report.analysis.pair_tests import CHECKPOINTS
from vaebench.report.html.provenance import Fact, Shown
from vaebench.report.html.wording import p_said

EFFECTS = {  # the others: Hedges' g
    "paired-t": "Cohen's d_z",
    "wilcoxon": "rank-biserial r",
    "mcnemar": "Cohen's g",
    "mann-whitney": "Cliff's delta",
}
SYMBOLS = {"better": "▲", "worse": "▼", "equivalent": "=", "floor": "⌊", "unresolved": "?"}
WORDS = {"floor": FLOOR}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCell:
    """Verdict on the row's model against the column's; an empty ``word`` means that nothing was tested."""

    word: str = ""
    symbol: str = ""
    detail: str = ""
    key: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Verdicts of models against models; without names if no pair of this metric was tested."""

    names: Sequence[str]
    rows: Sequence[tuple[str, Sequence[PairCell | None]]]  # None on the diagonal
    tests: Sequence[str]  # that decided


def effect_name(test: str) -> str:
    return EFFECTS.get(test, "Hedges' g")


def pairs_of(tested: Sequence[Row]) -> dict[tuple[str, str], dict[frozenset[str], list[Row]]]:
    """Return (metric, protocol) -> pair -> its tests over all images."""
    found: dict[tuple[str, str], dict[frozenset[str], list[Row]]] = {}
    for row in tested:
        if row.stratum == "all":
            pairs = found.setdefault((row.metric, row.protocol), {})
            pairs.setdefault(frozenset((row.a, row.b)), []).append(row)
    return found


def matrix(pairs: Mapping[frozenset[str], Sequence[Row]], names: Sequence[str], shown: Shown) -> Matrix:
    """Lay out the pairs of one metric among ``names``, those without any test left out."""
    within = {pair: rows for pair, rows in pairs.items() if pair <= set(names) and deciding(rows) is not None}
    present = [name for name in names if any(name in pair for pair in within)]
    keys = {pair: _entry(rows, shown) for pair, rows in sorted(within.items(), key=lambda item: sorted(item[0]))}
    return Matrix(
        names=present,
        rows=[
            (
                one,
                [
                    None
                    if one == other
                    else _cell(one, within.get(frozenset((one, other)), ()), keys.get(frozenset((one, other)), ""))
                    for other in present
                ],
            )
            for one in present
        ],
        tests=sorted({row.test for rows in within.values() if (row := deciding(rows)) is not None}),
    )


def _cell(one: str, rows: Sequence[Row], key: str) -> PairCell:
    row = deciding(rows)
    if row is None:
        return PairCell()
    sign = 1 if row.a == one else -1
    if row.verdict in ("a", "b"):
        word = "better" if {"a": row.a, "b": row.b}[row.verdict] == one else "worse"
    else:
        word = row.verdict
    checkpoint = "; this checkpoint against that one" if row.note in CHECKPOINTS else ""
    low, high = sorted((sign * row.ci_low, sign * row.ci_high))
    difference = f"{_signed(sign * row.mean_difference)} [{short(low)}, {short(high)}]"
    effect = "" if math.isnan(row.effect_size) else f"{effect_name(row.test)} {_plus(sign * row.effect_size)}"
    return PairCell(
        word=WORDS.get(word, word),
        symbol=SYMBOLS.get(word, "·"),
        detail=_least(row) if word == "unresolved" and not math.isnan(row.detectable) else effect,
        key=key,
        title=f"mean difference {difference}; {effect}; Holm p {p_said(row.p_holm)} ({row.test}){checkpoint}",
    )


def _least(row: Row) -> str:
    return f"could show ≥ {short(row.detectable)}"


def _signed(value: float) -> str:
    return f"+{short(value)}" if value > 0 else short(value).replace("-", "\N{MINUS SIGN}")


def _plus(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _entry(rows: Sequence[Row], shown: Shown) -> str:
    """Store all tests of one pair for the page's script, the decisive one first."""
    best = deciding(rows)
    ordered = sorted(rows, key=lambda row: (row is not best, row.test))
    first = ordered[0]
    a, b = title_of(first.a), title_of(first.b)
    blocks = [
        (f"{row.test}{' (decides)' if row is best else ''}: {title_of(row.a)} minus {title_of(row.b)}", _facts(row))
        for row in ordered
    ]
    return shown.add(f"{first.metric} ({first.protocol}): {a} and {b}", blocks)


def _facts(row: Row) -> list[Fact]:
    verdicts = {"a": f"{title_of(row.a)} is better", "b": f"{title_of(row.b)} is better", **WORDS}
    facts = [
        ("verdict", verdicts.get(row.verdict, row.verdict)),
        (
            "mean difference",
            f"{row.mean_difference:.6g}{_unless_nan(', 95 % interval {:.6g} to {:.6g}', row.ci_low, row.ci_high)}",
        ),
        (effect_name(row.test), _unless_nan("{:.4g}", row.effect_size)),
        ("statistic", f"{row.statistic:.4g}{_unless_nan(', {:.4g} degrees of freedom', row.df)}"),
        ("p", f"{p_said(row.p_value)}; Holm's {p_said(row.p_holm)}"),
        ("n, seeds", f"{row.n:,}, {row.seeds}"),
        ("margin", _unless_nan("{:.6g}: what is less does not matter", row.margin)),
        ("p of equivalence", _unless_nan("{:.2g} (Holm's, of two one-sided tests)", row.p_equivalent)),
        ("note", row.note),
        ("could have shown", _unless_nan("a difference of {:.4g} or more, 4 times in 5", row.detectable)),
    ]
    return [fact for fact in facts if fact[1]]


def _unless_nan(form: str, *values: float) -> str:
    """Return the text; nothing if one of its numbers is NaN."""
    return "" if any(math.isnan(value) for value in values) else form.format(*values)
