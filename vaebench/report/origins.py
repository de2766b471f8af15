"""Say where one number came from, as lines for a terminal."""

from collections.abc import Sequence

from vaebench.core import results
from vaebench.core.commands import shown_command
from vaebench.core.errors import UserError
from vaebench.core.registry import did_you_mean
from vaebench.metrics import METRICS
from vaebench.report.analysis.measured import current, provenance_lines
from vaebench.runs.find import find_runs
from vaebench.runs.record import RunFolder

STALE = "stale: the run was trained on since, so the report leaves this out; evaluate it again"


def origins(run: str, metric: str) -> list[str]:
    """Say where the latest values of one metric of a RUN came from, stratum ``all``, every seed and protocol."""
    lines: list[str] = []
    known = set(METRICS.names())
    for folder in with_results(find_runs([run])):
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


def with_results(folders: Sequence[RunFolder]) -> list[RunFolder]:
    """Return run folders that hold results; :class:`UserError` names one that was never measured, or is damaged."""
    for folder in folders:
        if not folder.results.exists():
            command = shown_command(["vaebench", "evaluate", str(folder.path)])
            raise UserError(f"{folder.path} was never measured: run {command} first")
        results.read(folder.results)  # of a run that was named, damage is an error
    return list(folders)
