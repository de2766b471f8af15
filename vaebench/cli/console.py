"""Consoles, options that several commands take, and how a written report is announced."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from vaebench.core.processes import leads, use_threads
from vaebench.core.validation import plain_line
from vaebench.runs.recipe_files import allow

if TYPE_CHECKING:
    from vaebench.runs.record import RunFolder

out = Console(emoji=False, quiet=not leads())  # digits:train: is no train
err = Console(stderr=True, emoji=False)

REPORTS = Path("reports")
RUN_HELP = "recipe (all its seeds), recipe/seed-k, 'recipe[key=value]', external/NAME, or a path"
Out = Annotated[Path, typer.Option("--out", help="folder of the reports")]
Dataset = Annotated[str | None, typer.Option("--dataset", help="only this dataset")]
SETTINGS_HELP = "several numbers are trained one by one: latent_dim=5,10; or repeat --set, also with one key"
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE[,VALUE]", help=SETTINGS_HELP)]
RECIPE_FILE_HELP = "your own file that a run's recipe is in: it is run only if you name it"
# a command that takes it needs do nothing more
RecipeFile = Annotated[str | None, typer.Option(metavar="FILE", help=RECIPE_FILE_HELP, callback=allow)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1")]


def _bounded(threads: int | None) -> int | None:
    if threads is not None:
        use_threads(threads)
    return threads


# likewise
Threads = Annotated[int | None, typer.Option(metavar="N", help="CPU threads; default all cores", callback=_bounded)]


def say(text: str) -> None:
    """Print lines to standard output, control characters escaped: texts may come from others' files."""
    shown = "\n".join(map(plain_line, text.split("\n")))
    out.print(shown, highlight=False, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """Print one line to standard error."""
    err.print(plain_line(text), style="red", highlight=False, markup=False, soft_wrap=True)


_REPORTS = ContextVar("whether commands write reports", default=True)


@contextmanager
def without_reports() -> Iterator[None]:
    """Let the commands that are called within write no report: who calls them writes one of its own."""
    before = _REPORTS.set(False)
    try:
        yield
    finally:
        _REPORTS.reset(before)


def write_reports(datasets: "Mapping[str, Sequence[RunFolder]]", out_dir: Path, **wanted: Any) -> bool:
    """Write each dataset's report unless it would come out as it lies there, and say where it lies; return whether
    reports are written at all.

    They show the claims of vaebench's suites, or of the ``published`` folder that stands in their place.
    """
    if not _REPORTS.get():
        return False
    from vaebench.report import freshness

    for dataset, given in datasets.items():
        folders = [each for each in given if not each.is_snapshot]
        request = {"dataset": dataset, "extra": [str(each.path) for each in folders], **wanted}
        if freshness.datasets_unchanged(request, out_dir):
            say(f"{dataset}: nothing new since {out_dir / dataset / 'index.html'} was written")
            continue
        made_from = freshness.sources(request)
        # imported here: --help must not load torch
        from vaebench.report.write import Report, write_report
        from vaebench.suites.claims import built_in_claims

        sources = [] if wanted.get("published") else built_in_claims(dataset)
        folder, _ = write_report(dataset, out_dir, Report(extra=folders, sources=sources, **wanted))
        freshness.remember(request, out_dir, [dataset], made_from)
        say(f"{dataset}: {folder / 'index.html'}; tables beside it (leaderboard.md, leaderboard.csv, comparisons.csv)")
    return True
