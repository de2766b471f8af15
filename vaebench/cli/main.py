"""The command line: parse, call, print. Engines are imported by the command that runs, so --help is instant."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from vaebench import __version__
from vaebench.cli import completion
from vaebench.cli.console import (
    REPORTS,
    RUN_HELP,
    Csv,
    Dataset,
    Full,
    Json,
    Out,
    Plain,
    begin,
    complain,
    err,
    say,
)
from vaebench.cli.evaluate import evaluate
from vaebench.cli.exit_codes import outcome
from vaebench.cli.help import FIRST, Sectioned
from vaebench.cli.progress import show_messages
from vaebench.cli.prose import working
from vaebench.cli.reports import say_unchanged, write_reports
from vaebench.cli.studies import studies
from vaebench.cli.suite import suites
from vaebench.cli.train import train
from vaebench.core import input_files
from vaebench.core.errors import UserError
from vaebench.core.interrupts import raising
from vaebench.core.processes import processes
from vaebench.runs import recipe_files

GROUP = "suite"  # by itself it shows its commands
COMPLETING = "_VAEBENCH_COMPLETE"  # set by a shell that completes a command line
SIZE_OPTION, NOTE_OPTION = "--max-file-size", "--command"
PAIRED_OPTION, PAIRINGS = "--paired", ("name", "position")  # the option alone means the first

app = typer.Typer(
    cls=Sectioned,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train, measure, test and rank generative image models.",
)
app.add_typer(studies)
app.add_typer(suites, name=GROUP)


def _version(asked: bool) -> None:
    if asked:
        say(f"vaebench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
    max_file_size: Annotated[
        str, typer.Option(SIZE_OPTION, metavar="SIZE", help="read larger files than usual, e.g. 20GB")
    ] = "",
    version: Annotated[
        bool, typer.Option("--version", help="show the version", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Options that every command takes; main() has taken them out of the arguments already."""


@app.command(epilog="Example: vaebench quickstart --faces")
def quickstart(
    faces: Annotated[bool, typer.Option("--faces", help="on drawn faces instead of digits")] = False,
    out_dir: Out = REPORTS,
    full: Full = False,
    plain: Plain = False,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """Train, measure and rank the families on real digits. No network, no GPU, minutes."""
    from vaebench.cli.suite import opened, run_suite

    suite = opened("toyfaces" if faces else "digits")
    run_suite(suite, only=None, shard="1/1", device="auto", out_dir=out_dir, full=full)


@app.command("list", epilog="Example: vaebench list recipes")
def list_(
    kind: Annotated[str | None, typer.Argument(help="recipes, models, datasets, metrics, perceptual, adapters")] = None,
    plain: Plain = False,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """What there is, plugins included, and what is ready. Says which data and weights are missing."""
    from vaebench.cli.list_screen import show_kind, show_overview
    from vaebench.cli.listing import listing

    if kind is None:
        show_overview(listing())
    else:
        show_kind(kind, listing(kind))


@app.command(epilog="Example: vaebench doctor")
def doctor(as_csv: Csv = False, as_json: Json = False) -> None:
    """What this machine has and lacks. Versions, devices, data, weights, and the command that gets what is missing."""
    from vaebench.cli.doctor import diagnose
    from vaebench.cli.doctor_screen import show_findings

    show_findings(diagnose())


@app.command(epilog="Example: vaebench cache clear --older-than 30d")
def cache(
    action: Annotated[str, typer.Argument(metavar="clear", help="remove it")] = "",
    older_than: Annotated[str, typer.Option(metavar="30d|12h", help="only what was not written for so long")] = "",
    plain: Plain = False,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """What is kept because it takes long to make. And how to be rid of it."""
    from vaebench.cli.cache import cache_parts, clear, readable
    from vaebench.cli.tables import Column, Table, show
    from vaebench.core.paths import cache_dir

    if action not in ("", "clear") or (older_than and not action):
        raise UserError("vaebench cache shows what is kept, vaebench cache clear [--older-than 30d] removes it")
    if action:
        size, count = clear(older_than)
        say(f"removed {readable(size)} in {count:,} files from {cache_dir()}")
        return
    parts = cache_parts()
    rows = []
    for part in parts:
        day = datetime.fromtimestamp(part.used).astimezone().date().isoformat()
        rows.append([part.name, readable(part.size), f"{part.files:,}", day, part.what])
    columns = [
        Column(name="part"),
        Column(name="size", right=True),
        Column(name="files", right=True, leaves=1),
        Column(name="last written"),
        Column(name="what", shrinks="end"),
    ]
    show(Table(columns=columns, rows=rows))
    say(f"{readable(sum(part.size for part in parts))} in {cache_dir()}; to be rid of it: vaebench cache clear")


@app.command(epilog="Example: vaebench fetch mnist --from ~/Downloads/mnist")
def fetch(
    name: Annotated[str, typer.Argument(help="a dataset or weights", autocompletion=completion.fetched)],
    source: Annotated[
        Path | None, typer.Option("--from", help="local file, folder or zip instead of a download")
    ] = None,
) -> None:
    """Download or import a dataset or weights; verify; prepare."""
    from vaebench.cli.doctor import fetch as get

    say(get(name, source))


app.command(epilog="Example: vaebench train vae-mnist dfcvae-mnist --seeds 0,1,2 --set latent_dim=5,10,20")(train)


app.command(epilog="Example: vaebench evaluate vae-mnist dfcvae-mnist --metrics blur,ssim")(evaluate)


@app.command(epilog="Example: vaebench report --dataset mnist --out reports")
def report(
    dataset: Dataset = None,
    out_dir: Out = REPORTS,
    published: Annotated[
        Path | None, typer.Option(help="folder of claims and printed tables; default vaebench's own")
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="leaderboard.tex as well, for booktabs")] = False,
    evidence: Annotated[bool, typer.Option("--evidence", help="what it was made from as well, to be rebuilt")] = False,
    strata: Annotated[bool, typer.Option("--strata", help="all strata, though a metric has more than 20")] = False,
    full: Full = False,
    plain: Plain = False,
    as_csv: Csv = False,
    as_json: Json = False,
    emit: Annotated[
        str, typer.Option(metavar="FORMAT[,FORMAT]", help="for others' tables: model-index, every-eval-ever")
    ] = "",
    site: Annotated[bool, typer.Option("--site", help="only index.html of the reports that lie in --out")] = False,
) -> None:
    """Write tables, page and figures of what was measured. Says so at once where nothing is new."""
    from vaebench.report import freshness
    from vaebench.report.emission import read_formats

    wanted: dict[str, Any] = {"published": published, "latex": latex, "evidence": evidence, "strata": strata}
    wanted["emit"] = read_formats(emit)
    if site:
        from vaebench.report.site import write_site

        if given := [name for name, value in {"dataset": dataset, **wanted}.items() if value]:
            raise UserError(f"--site lists the reports that are there: leave --{given[0]} away, or report first")
        say(str(write_site(out_dir, say)))
        return
    if same := freshness.datasets_unchanged({"dataset": dataset, **wanted}, out_dir):
        say_unchanged(same, out_dir, full=full)
        return
    made_from = freshness.sources({"dataset": dataset, **wanted})
    from vaebench.report.analysis.measured import all_folders, datasets_measured

    found = [dataset] if dataset else datasets_measured(all_folders())
    if not found:
        raise UserError("nothing has been measured yet: run 'vaebench evaluate --all' first")
    write_reports(dict.fromkeys(found, ()), out_dir, full=full, **wanted)
    freshness.remember({"dataset": dataset, **wanted}, out_dir, found, made_from)


@app.command(epilog="Example: vaebench compare dfcvae-mnist vae-mnist")
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=RUN_HELP, autocompletion=completion.runs)],
    b: Annotated[str, typer.Argument(metavar="B", help=RUN_HELP, autocompletion=completion.runs)],
    metrics: Annotated[str, typer.Option(help="comma-separated; default all", autocompletion=completion.metrics)] = "",
    strata: Annotated[bool, typer.Option("--strata", help="parts of the images, too: classes, attributes")] = False,
    tests: Annotated[bool, typer.Option("--tests", help="every test, not only the one that decides")] = False,
    plain: Plain = False,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """By which metrics one of two runs is better. The tests are the report's."""
    from vaebench.cli.compare_screen import show_compared
    from vaebench.report.compare import compared

    wanted = [name.strip() for name in metrics.split(",") if name.strip()]
    with working(f"testing {a} against {b}"):
        found = compared(a, b)
    show_compared(found, wanted, strata=strata, tests=tests)


@app.command(epilog="Example: vaebench plan dfcvae-mnist vae-mnist --metric blur --margin 5%")
def plan(
    a: Annotated[str, typer.Argument(metavar="A", help="a recipe", autocompletion=completion.runs)],
    b: Annotated[str, typer.Argument(metavar="B", help="another recipe", autocompletion=completion.runs)],
    metric: Annotated[
        str, typer.Option(metavar="METRIC", help="the metric to decide by", autocompletion=completion.metric)
    ],
    margin: Annotated[str, typer.Option(metavar="VALUE", help="difference to show: 0.01, 5%; default: measured")] = "",
    power: Annotated[float, typer.Option(metavar="P", help="how often a true difference is to be shown")] = 0.8,
    plain: Plain = False,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """How many training seeds would decide. And what they would cost here."""
    from vaebench.cli.tables import Column, Table, show
    from vaebench.report.plan import HEADER
    from vaebench.report.plan import plan as planned

    with working("counting seeds"):
        found = planned(a, b, metric, margin=margin, power=power)
    shrinks: dict[str, Literal["middle", "end"]] = {"protocol": "middle", HEADER[-1]: "end"}
    columns = [Column(name=name, shrinks=shrinks.get(name, "")) for name in HEADER]
    show(Table(columns=columns, rows=found.rows))
    say("")
    for line in found.lines:
        say(line)


@app.command(epilog="Example: vaebench check new.csv --baseline accepted.csv --margin ssim=0.01 --margin fid=5%")
def check(
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE.csv", help="a leaderboard.csv")],
    baseline: Annotated[Path, typer.Option(metavar="BASELINE.csv", help="the accepted leaderboard.csv")],
    margins: Annotated[
        list[str] | None,
        typer.Option("--margin", metavar="METRIC=VALUE", help="0.01, 5% or none; default: the baseline's own"),
    ] = None,
    allow_missing: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="a metric, recipe or RECIPE:METRIC that may be gone")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="write a job summary")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="write JUnit XML")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="everything, for machines")] = None,
    allow_undecided: Annotated[bool, typer.Option(help="exit with 0, not 3, where rows stay undecided")] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="of stored checkpoints: every accepted value must come out to 1e-6")
    ] = False,
    plain: Plain = False,
) -> None:
    """Tell whether a table is worse than an accepted one. Exit code 1: by more than a margin; 3: undecided."""
    if exact:
        given = {"--margin": margins, "--allow-missing": allow_missing, "--allow-undecided": allow_undecided}
        files = {"markdown": markdown, "junit": junit, "as_json": as_json}
        _check_exactly(candidate, baseline, files, [name for name, value in given.items() if value])
    from vaebench.cli.check_screen import show_gate
    from vaebench.report.gate import rendering
    from vaebench.report.gate.gate import CANNOT_DECIDE
    from vaebench.report.gate.gate import check as judge
    from vaebench.report.gate.table import read_table

    gate = judge(read_table(candidate), read_table(baseline), margins or (), allow_missing or ())
    rendering.deliver(gate, markdown=markdown, junit=junit, as_json=as_json)
    with contextlib.suppress(SystemExit):  # rich's answer to a reader that has seen enough: it changes no verdict
        show_gate(gate)
    raise typer.Exit(0 if allow_undecided and gate.exit_code == CANNOT_DECIDE else gate.exit_code)


def _check_exactly(
    candidate: Path, baseline: Path, files: Mapping[str, Path | None], meaningless: Sequence[str]
) -> NoReturn:
    """Hold a table of stored checkpoints against the accepted one, value by value, and exit."""
    from vaebench.report.gate.exact import check_exactly, deliver_exact
    from vaebench.report.gate.table import read_table

    if meaningless:
        raise UserError(f"{meaningless[0]} has no meaning with --exact, which excuses no difference: leave it away")
    gate = check_exactly(read_table(candidate), read_table(baseline))
    lines = deliver_exact(gate, **files)
    with contextlib.suppress(SystemExit):  # as in check
        say("\n".join(lines))
    raise typer.Exit(gate.exit_code)


@app.command(epilog="Example: vaebench accept reports/digits/leaderboard.csv --as accepted.csv")
def accept(
    new: Annotated[Path, typer.Argument(metavar="NEW.csv", help="a leaderboard.csv")],
    accepted: Annotated[Path, typer.Option("--as", metavar="FILE", help="the baseline to write")],
) -> None:
    """Make a table the accepted one. Margins come from its seeds' scatter; says what worsening each row catches."""
    from vaebench.report.gate.accept import accept as write_accepted

    for line in write_accepted(new, accepted):
        say(line)
    say(f"accepted as {accepted}: vaebench check NEW.csv --baseline {accepted}")


@app.command(epilog="Example: vaebench explain vae-mnist/seed-0 blur")
def explain(
    run: Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP, autocompletion=completion.runs)],
    metric: Annotated[str, typer.Argument(metavar="METRIC", autocompletion=completion.metric)],
) -> None:
    """Where one number came from. Protocol, n, seed, hashes, versions, device, time, command."""
    from vaebench.report.origins import origins

    for line in origins(run, metric):
        say(line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit with one of its codes: 0, 1, 2, 3, 70 or 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows only ASCII, a name that is no UTF-8
            stream.reconfigure(errors="backslashreplace")
    # of odd files that are decoded all the same; what cannot be is said in one line
    warnings.filterwarnings("ignore", module=r"PIL\.")
    given = list(sys.argv[1:] if arguments is None else arguments)
    show_messages(err)
    if not given and COMPLETING not in os.environ:
        say(FIRST.rstrip("\n"))
        sys.exit(0)
    debug = "--debug" in given
    name = next((word for word in given if not word.startswith("-")), "")
    with raising():
        code, problem = outcome(lambda: _run(given), debug=debug, name=name)
    if problem:
        complain(problem)
    if processes() > 1:  # one ended run in eight aborted as torch 2.15's gloo was taken down with the interpreter
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(given: Sequence[str]) -> int | None:
    """Take out what may stand anywhere (``--debug``, ``--max-file-size SIZE``), complete ``--paired``, and run the
    command.
    """
    recipe_files.allow(None)
    begin()
    os.environ.pop(input_files.BOUND, None)
    rest: list[str] = []
    words = iter([word for word in given if word != "--debug"])
    for word in words:
        if rest and rest[-1] == PAIRED_OPTION and word not in PAIRINGS:
            rest[-1] = f"{PAIRED_OPTION}=name"
        option, equals, value = word.partition("=")
        if option != SIZE_OPTION:
            rest.append(word)
            continue
        size = value if equals else next(words, "")
        os.environ[input_files.BOUND] = str(input_files.parse_size(size))
    if rest and rest[-1] == PAIRED_OPTION:
        rest[-1] = f"{PAIRED_OPTION}=name"
    if rest == [GROUP]:
        rest.append("--help")
    answered: int | None = app(with_home(rest), standalone_mode=False)
    return answered


def with_home(words: Sequence[str]) -> list[str]:
    """Put the user's home folder in place of a ``~`` that the shell has left: quoted, or behind ``=``.

    ``--images '~/x'``, ``--out=~/x`` and ``--set dataset.path=~/x`` name what ``~/x`` names. A note is left as it is.
    """
    found = []
    for before, word in zip(["", *words], words, strict=False):
        key, equals, value = word.partition("=")
        if NOTE_OPTION in (before, key):
            found.append(word)
        elif equals and value.startswith("~"):
            found.append(f"{key}={os.path.expanduser(value)}")  # noqa: PTH111  # a Path would lose "./"
        else:
            found.append(os.path.expanduser(word))  # noqa: PTH111
    return found
