"""Compare two runs or recipes: every test between them, with their values, and the verdicts counted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vaebench.core import questions
from vaebench.core.errors import UserError
from vaebench.core.results import Facts
from vaebench.core.subjects import REAL
from vaebench.report.analysis.comparisons import Row, all_pairs, decisive
from vaebench.report.analysis.leaderboard import Row as Ranked
from vaebench.report.analysis.leaderboard import leaderboard
from vaebench.report.analysis.measured import Measured, all_folders, collect, datasets_measured
from vaebench.report.analysis.pair_tests import CHECKPOINTS
from vaebench.report.origins import with_results
from vaebench.runs.find import find_runs
from vaebench.runs.record import RunFolder

Standing = Literal["better", "worse", "equal", "open"]
ORDER: tuple[Standing, ...] = ("better", "worse", "equal", "open")
Cell = tuple[str, str]  # metric and protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two sides on one dataset.

    Attributes:
        dataset: that both were measured on.
        a, b: the sides, as they were named.
        tests: every test between them, as the report has them, ``a`` first.
        deciding: of these the deciding test of each metric over all images; by question, decided ones first.
        facts: how each metric is shown.
        values: each side's row over all images, by metric and protocol.
        plannable: whether ``vaebench plan`` knows both, and one has training seeds.
    """

    dataset: str
    a: str
    b: str
    tests: Sequence[Row]
    deciding: Sequence[Row]
    facts: Mapping[Cell, Facts]
    values: Mapping[tuple[str, str, str], Ranked]
    plannable: bool

    @property
    def checkpoints(self) -> bool:
        """Whether the verdicts are about these checkpoints and not about recipes."""
        return all(row.note in CHECKPOINTS for row in self.deciding)

    def is_ranked(self, row: Row) -> bool:
        """Tell whether a better value of this metric makes a better model."""
        return self.facts[row.metric, row.protocol].ranked

    def direction(self, row: Row) -> str:
        """Return which values are better by this metric: ``higher``, ``lower`` or ``target``; empty where unknown."""
        sides = (self.values.get((row.metric, row.protocol, name)) for name in (self.a, self.b))
        return next((side.direction for side in sides if side is not None), "")

    def untested(self) -> list[Cell]:
        """Return metrics and protocols that both sides have a value by over all images, but that no test compares."""
        tested = {(row.metric, row.protocol) for row in self.deciding}
        cells = dict.fromkeys((metric, protocol) for metric, protocol, _ in self.values)
        return [
            cell for cell in cells if cell not in tested and all(self._has(cell, side) for side in (self.a, self.b))
        ]

    def _has(self, cell: Cell, side: str) -> bool:
        row = self.values.get((*cell, side))
        return row is not None and row.value is not None

    def counts(self, metrics: Collection[str] = ()) -> dict[Standing, int]:
        """Count how ``a`` stands to ``b`` over the metrics by which models are ranked, or over those of them named."""
        asked = [row for row in self.deciding if not metrics or row.metric in metrics]
        found = [self.standing(row) for row in asked if self.is_ranked(row)]
        return {standing: found.count(standing) for standing in ORDER}

    def standing(self, row: Row) -> Standing:
        """Say how ``a`` stands to ``b`` by one test."""
        if row.verdict in ("equivalent", "floor"):
            return "equal"
        winner = {"a": row.a, "b": row.b}.get(row.verdict)
        return "open" if winner is None else "better" if winner == self.a else "worse"


def compared(a: str, b: str) -> list[Compared]:
    """Test two RUNs against each other on every dataset that both were measured on.

    Two recipes stand as they do in the report, with Holm's correction over all recipes measured; where single
    seeds or paths are named, the correction is over the two and the real images.

    Raises:
        UserError: nothing is known of one of them, or they share a run, a dataset or no metric.
    """
    sides = {a: with_results(find_runs([a])), b: with_results(find_runs([b]))}
    if a == b or {folder.path.resolve() for folder in sides[a]} & {folder.path.resolve() for folder in sides[b]}:
        raise UserError(f"{a} and {b} share a run, which cannot be compared with itself: name two that share none")
    shared = [name for name in datasets_measured(sides[a]) if name in datasets_measured(sides[b])]
    if not shared:
        raise UserError(f"{a} and {b} were not measured on a dataset in common: evaluate both on one")
    found = []
    for dataset in shared:
        whole = collect(dataset, all_folders())
        known = {a, b} <= set(whole.recipes())
        seeded = any(line.recipe in (a, b) and line.seed is not None for line in whole.results)
        found.append(_compared(whole if known else _only(dataset, sides), a, b, plannable=known and seeded))
    return found


def _compared(measured: Measured, a: str, b: str, *, plannable: bool) -> Compared:
    every = all_pairs(measured)
    tests = [_turned(row, a) for row in every if {row.a, row.b} == {a, b}]
    if not tests:
        raise UserError(f"{a} and {b} share no metric on the same image ids: evaluate both on the same split")
    facts = measured.facts()
    values = {
        (row.metric, row.protocol, row.recipe): row
        for part in measured.parts()
        for row in leaderboard(part, every)
        if row.stratum == "all" and row.recipe in (a, b, REAL)
    }
    found = Compared(
        dataset=measured.dataset, a=a, b=b, tests=tests, deciding=[], facts=facts, values=values, plannable=plannable
    )

    def order(row: Row) -> tuple[object, ...]:
        fact = facts[row.metric, row.protocol]
        how = ORDER.index(found.standing(row))
        return (questions.place(fact.question), not fact.ranked, how, fact.headline or 99, fact.place, row.metric)

    whole = [row for row in decisive(tests) if row.stratum == "all"]
    return replace(found, deciding=sorted(whole, key=order))


def _turned(row: Row, a: str) -> Row:
    """Return a test with ``a`` as its first side, whichever way round the report has it."""
    if row.a == a:
        return row
    return replace(
        row,
        a=row.b,
        b=row.a,
        mean_difference=-row.mean_difference,
        ci_low=-row.ci_high,
        ci_high=-row.ci_low,
        effect_size=-row.effect_size,
        statistic=row.statistic if row.test == "wilcoxon" else -row.statistic,
        verdict={"a": "b", "b": "a"}.get(row.verdict, row.verdict),
    )


def _only(dataset: str, sides: dict[str, list[RunFolder]]) -> Measured:
    """Return the two sides under the names they were given, and the real images."""
    real = [folder for folder in all_folders() if folder.path.parent.name == REAL]
    whole = collect(dataset, [*real, *next(iter(sides.values()))])
    lines = [line for line in whole.results if line.recipe == REAL]
    values = {subject: known for subject, known in whole.values.items() if subject[0] == REAL}
    for name, folders in sides.items():  # one by one: both may hold the same recipe and seed, trained in two places
        side = collect(dataset, folders)
        lines += [replace(line, recipe=name) for line in side.results]
        values |= {(name, seed): known for (_, seed), known in side.values.items()}
    return replace(whole, results=lines, values=values)
