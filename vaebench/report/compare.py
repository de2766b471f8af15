"""Compare two runs, or say where one number came from, as lines for a terminal."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace

from vaebench.core import results
from vaebench.core.commands import shown_command
from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean
from vaebench.core.subjects import REAL
from vaebench.metrics import METRICS
from vaebench.report.analysis.comparisons import Row, compare, decisive, verdict_in_words
from vaebench.report.analysis.formatting import cell, p_text, short, to_text
from vaebench.report.analysis.measured import (
    Measured,
    all_folders,
    collect,
    current,
    datasets_measured,
    provenance_lines,
)
from vaebench.report.analysis.pair_tests import CHECKPOINTS
from vaebench.runs.find import find_runs
from vaebench.runs.record import RunFolder

STALE = "stale: the run was trained on since, so the report leaves this out; evaluate it again"


def between(a: str, b: str, *, brief: bool = False) -> list[str]:
    """Format every test between two RUNs, as lines of text; ``brief``: over all images, the deciding test of each
    metric.

    Two recipes stand as they do in the report, with Holm's correction over all recipes measured; where single
    seeds or paths are named, the correction is over the two and the real images.
    """
    lines: list[str] = []
    sides = {a: _with_results(find_runs([a])), b: _with_results(find_runs([b]))}
    if a == b or {folder.path.resolve() for folder in sides[a]} & {folder.path.resolve() for folder in sides[b]}:
        raise UserError(f"{a} and {b} share a run, which cannot be compared with itself: name two that share none")
    shared = [name for name in datasets_measured(sides[a]) if name in datasets_measured(sides[b])]
    if not shared:
        raise UserError(f"{a} and {b} were not measured on a dataset in common: evaluate both on one")
    for dataset in shared:
        whole = collect(dataset, all_folders())
        measured = whole if {a, b} <= set(whole.recipes()) else _only(dataset, sides)
        rows = compare(measured, a, b)
        shown = [row for row in decisive(rows) if row.stratum == "all"] if brief else rows
        advice = _advice(shown, a, b) if {a, b} <= set(whole.recipes()) else []
        lines += [f"{dataset}: a = {a}, b = {b}", *_table(shown, a, short if brief else _as_in_tables), *advice, ""]
    return lines[:-1]


def _with_results(folders: Sequence[RunFolder]) -> list[RunFolder]:
    for folder in folders:
        if not folder.results.exists():
            command = shown_command(["vaebench", "evaluate", str(folder.path)])
            raise UserError(f"{folder.path} was never measured: run {command} first")
        results.read(folder.results)  # of a run that was named, damage is an error
    return list(folders)


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


def _as_in_tables(value: float) -> str:
    """Format to the last digit of the CSV, so that the two can be held against each other."""
    return cell("", float(value)) or "n/a"


def _table(rows: Sequence[Row], a: str, number: Callable[[float], str]) -> list[str]:
    """Lay out rows with ``a`` first, whichever way round the report has them."""
    body = []
    for row in rows:
        sign = 1 if row.a == a else -1
        low, high = sorted((sign * row.ci_low, sign * row.ci_high))
        winner = verdict_in_words(row)
        if row.detectable > 0:
            winner += f" (could have shown {number(row.detectable)})"
        body.append(
            [
                row.metric,
                row.protocol,
                row.stratum,
                row.test,
                str(row.n),
                number(sign * row.mean_difference),
                f"[{number(low)}, {number(high)}]",
                number(sign * row.effect_size),
                number(row.statistic if row.test == "wilcoxon" else sign * row.statistic),
                p_text(row.p_value),
                p_text(row.p_holm),
                winner,
            ]
        )
    header = ["metric", "protocol", "stratum", "test", "n", "a - b", "95 %", "effect", "statistic", "p", "p Holm"]
    return to_text([*header, "better"], body)


def _advice(rows: Sequence[Row], a: str, b: str) -> list[str]:
    """Name the command that plans what would decide, for the first metric that is open."""
    open_rows = [row for row in decisive(rows) if row.verdict == "unresolved" or row.note in CHECKPOINTS]
    if not open_rows:
        return []
    return [f"what would decide: {shlex.join(['vaebench', 'plan', a, b, '--metric', open_rows[0].metric])}"]


def origins(run: str, metric: str) -> list[str]:
    """Say where the latest values of one metric of a RUN came from, stratum ``all``, every seed and protocol."""
    lines: list[str] = []
    known = set(METRICS.names())
    for folder in _with_results(find_runs([run])):
        record = folder.read_record() if folder.record_file.exists() else None
        valid = current(folder, record)
        for result in results.latest(results.read(folder.results)):
            known.add(result.metric)
            if result.metric == metric and result.stratum == "all":
                lines += [f"{folder.path}: {metric}", *(f"  {line}" for line in provenance_lines(result))]
                lines += [""] if result in valid else [f"  {STALE}", ""]
    if not lines and metric in known:
        command = shown_command(["vaebench", "evaluate", run, "--metrics", metric])
        raise UserError(f"{run} has no value of '{metric}' yet: run {command}")
    if not lines:
        raise UserError(f"{run} has no value of '{metric}': {did_you_mean(metric, known)}")
    return lines[:-1]
