"""Consoles, and options that several commands take."""

from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from vaebench.cli import completion
from vaebench.core.errors import UserError
from vaebench.core.processes import leads, use_threads
from vaebench.core.validation import plain_line
from vaebench.runs.recipe_files import allow

out = Console(emoji=False, quiet=not leads())  # digits:train: is no train
err = Console(stderr=True, emoji=False)
_aside = Console(stderr=True, emoji=False, quiet=not leads())

Form = Literal["fitted", "plain", "csv", "json"]
_form: ContextVar[Form] = ContextVar("form in which the command shows its tables", default="fitted")

REPORTS = Path("reports")
RUN_HELP = "recipe (all its seeds), recipe/seed-k, 'recipe[key=value]', external/NAME, or a path"
Out = Annotated[Path, typer.Option("--out", help="folder of the reports")]
Dataset = Annotated[str | None, typer.Option("--dataset", help="only this dataset", autocompletion=completion.datasets)]
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


def _chosen(form: Form) -> Any:
    def note(asked: bool) -> bool:
        if asked and _form.get() not in ("fitted", form):
            raise UserError(f"--{_form.get()} and --{form} exclude each other: give one of them")
        if asked:
            _form.set(form)
        return asked

    return note


# likewise: in what form tables are shown is kept here
Plain = Annotated[
    bool, typer.Option("--plain", help="whole tables, whatever the terminal's width", callback=_chosen("plain"))
]
Csv = Annotated[bool, typer.Option("--csv", help="the table as CSV", callback=_chosen("csv"))]
Json = Annotated[bool, typer.Option("--json", help="the table as JSON", callback=_chosen("json"))]
Full = Annotated[bool, typer.Option("--full", help="more than a screen: all metrics, claims, reasons, commands")]


def form() -> Form:
    """Return the form in which the command is to show its tables."""
    return _form.get()


def begin() -> None:
    """Forget in what form an earlier command of this process was asked to show its tables."""
    _form.set("fitted")


def for_machines() -> bool:
    """Tell whether standard output is to hold CSV or JSON, and nothing else."""
    return form() in ("csv", "json")


def talk() -> Console:
    """Return the console of what is said and shown beside results: standard error where standard output holds data for
    machines.
    """
    return _aside if for_machines() else out


def say(text: str) -> None:
    """Print lines to standard output, control characters escaped: texts may come from others' files.

    Where standard output holds data for machines, they go to standard error.
    """
    shown = "\n".join(map(plain_line, text.split("\n")))
    talk().print(shown, highlight=False, markup=False, soft_wrap=True)


def data(text: str) -> None:
    """Print data for machines to standard output, as they are."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """Print one line to standard error."""
    err.print(plain_line(text), style="red", highlight=False, markup=False, soft_wrap=True)
