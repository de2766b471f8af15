"""Write reports after a command, and end it with their answers."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaebench.cli.console import for_machines, say
from vaebench.cli.prose import working

if TYPE_CHECKING:
    from vaebench.runs.record import RunFolder

UNCHANGED = "nothing new since the report was written"
_REPORTS = ContextVar("whether commands write reports", default=True)


@contextmanager
def without_reports() -> Iterator[None]:
    """Let the commands that are called within write no report: who calls them writes one of its own."""
    before = _REPORTS.set(False)
    try:
        yield
    finally:
        _REPORTS.reset(before)


def write_reports(
    datasets: "Mapping[str, Sequence[RunFolder]]",
    out_dir: Path,
    *,
    full: bool = False,
    answer: bool = True,
    metrics: Collection[str] = (),
    **wanted: Any,
) -> bool:
    """Write each dataset's report unless it would come out as it lies there, and show its answer, or with ``answer``
    False where the page lies; return whether reports are written at all.

    The answer has ``metrics``, by name, beside the headlines. Reports show the claims of vaebench's suites, or of the
    ``published`` folder that stands in their place.
    """
    if not _REPORTS.get():
        return False
    from vaebench.report import freshness

    written: list[Path] = []
    for dataset, given in datasets.items():
        folders = [each for each in given if not each.is_snapshot]
        request = {"dataset": dataset, "extra": [str(each.path) for each in folders], **wanted}
        if freshness.datasets_unchanged(request, out_dir):
            written.append(out_dir / dataset)
            if answer:
                say(f"{dataset}: {UNCHANGED}")
                _show(written[-1], full=full, metrics=metrics)
            continue
        say_if_replaced(dataset, out_dir)
        made_from = freshness.sources(request)
        # imported here: --help must not load torch
        from vaebench.report.write import Report, write_report
        from vaebench.suites.claims import built_in_claims

        sources = [] if wanted.get("published") else built_in_claims(dataset)
        with working(f"testing and drawing what was measured on {dataset}"):
            folder, _ = write_report(dataset, out_dir, Report(extra=folders, sources=sources, **wanted))
        freshness.remember(request, out_dir, [dataset], made_from)
        written.append(folder)
        if answer:
            _show(folder, full=full, metrics=metrics)
        else:
            say(f"{dataset}: {folder / 'index.html'}")
    if answer:
        _show_for_machines(written)
    return True


def say_if_replaced(name: str, out_dir: Path) -> None:
    """Say where the report that is about to be written replaces one of another runs folder."""
    from vaebench.report.freshness import written_from

    if others := written_from(name, out_dir):
        said = f"{out_dir / name} held the report of the runs in {others}"
        say(f"{said}: this one replaces it; --out with another folder keeps both")


def say_unchanged(datasets: Sequence[str], out_dir: Path, *, full: bool) -> None:
    """Say that reports would come out as they lie there, and show their answers."""
    for dataset in datasets:
        say(f"{dataset}: {UNCHANGED}")
        _show(out_dir / dataset, full=full)
    _show_for_machines([out_dir / dataset for dataset in datasets])


def _show(folder: Path, *, full: bool, metrics: Collection[str] = ()) -> None:
    """Show a report's answer as soon as it is there; for machines all answers are one table, when all are there."""
    from vaebench.cli.answer_screen import show_answers

    if not for_machines():
        show_answers(folder, full=full, metrics=metrics)


def _show_for_machines(folders: Sequence[Path]) -> None:
    from vaebench.cli.answer_screen import show_records

    if for_machines():
        show_records(folders)
