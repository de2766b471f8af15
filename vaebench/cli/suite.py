"""Commands of suites: a benchmark as a file, run from its first training to its report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vaebench.cli import completion
from vaebench.cli.console import REPORTS, Csv, Device, Full, Json, Out, Plain, for_machines, form, out, say, talk
from vaebench.cli.exit_codes import UsageError
from vaebench.cli.reports import say_if_replaced, without_reports
from vaebench.core.errors import UserError

if TYPE_CHECKING:
    from vaebench.suites.suite import Located
    from vaebench.training.compute import Choose

suites = typer.Typer(help="Benchmarks as files: train, measure, report.")
Given = Annotated[
    str,
    typer.Argument(
        metavar="FILE|NAME", help="a suite's file, or one of 'vaebench suite list'", autocompletion=completion.suites
    ),
]
Part = Literal["train", "evaluate", "report"]


@suites.command("list", epilog="Example: vaebench suite list")
def list_(plain: Plain = False, as_csv: Csv = False, as_json: Json = False) -> None:
    """The suites that come with vaebench."""
    from vaebench.cli.tables import Column, Table, show
    from vaebench.suites import built_in
    from vaebench.suites.reading import read_suite

    found = {name: read_suite(path) for name, path in built_in().items()}
    columns = [
        Column(name="suite"),
        Column(name="dataset"),
        *(Column(name=name, right=True, leaves=1) for name in ("models", "seeds", "claims")),
        Column(name="title", shrinks="end"),
    ]
    rows = []
    for name, located in found.items():
        suite = located.suite
        counts = [str(len(part)) for part in (suite.models, suite.seeds, suite.claims)]
        rows.append([name, suite.dataset.name, *counts, suite.title])
    show(Table(columns=columns, rows=rows))


@suites.command(epilog="Example: vaebench suite check mine.toml")
def check(given: Given) -> None:
    """Look for what is wrong in a suite's file. Before anything runs: every key, name, budget and claim."""
    from vaebench.suites.checking import problems
    from vaebench.suites.work import jobs_of

    located = opened(given)
    found = problems(located)
    if found:
        for problem in found[1:]:
            say(problem)
        raise UserError(found[0])
    jobs_of(located, _chosen(located, "auto"))  # a budget that is less than a step of a recipe is said here
    say(f"{located.path}: in order; {_size(located)}")


@suites.command(epilog="Example: vaebench suite status digits")
def status(
    given: Given, device: Device = "auto", plain: Plain = False, as_csv: Csv = False, as_json: Json = False
) -> None:
    """What of a suite is done, and what is left. And how long that takes on this machine."""
    from vaebench.cli.prose import working
    from vaebench.cli.tables import Column, Table, show
    from vaebench.suites.running import refuse_problems
    from vaebench.suites.status import states
    from vaebench.suites.work import jobs_of, protocol_of

    located = opened(given)
    refuse_problems(located)
    chosen = _chosen(located, device)
    with working("looking at what is done, and trying how fast the rest goes"):
        metrics = {metric.spec.name for metric in protocol_of(located).build()}
        found = list(states(jobs_of(located, chosen), metrics, chosen))
    rows = []
    for each in found:
        steps = "another training" if each.other else f"{each.done:,} of {each.steps:,}"
        rows.append([each.run, steps, "yes" if each.measured else "no", _time(each.seconds)])
    columns = [
        Column(name="run", shrinks="middle"),
        Column(name="steps"),
        Column(name="measured"),
        Column(name="left", right=True),
    ]
    show(Table(columns=columns, rows=rows))
    for each in found:
        if each.other:
            say(f"{each.run} is there with other settings ({each.other}): the suite will ask to move it away")
    left = sum(each.seconds for each in found)
    done = sum(each.trained for each in found)
    say(f"{done} of {len(found)} trained; {_time(left) or 'nothing'} of training left on this machine")


@suites.command(epilog="Example: vaebench suite verdicts reports/mnist")
def verdicts(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="FOLDER", help="a dataset's report; default: all under reports/")
    ] = None,
    plain: Plain = False,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """What reports found of claims. With them what vaebench's suites claim and no report measured. Markdown where the
    output is piped, or with --plain.
    """
    from vaebench.cli.tables import Table, show
    from vaebench.cli.verdicts_screen import show_verdicts
    from vaebench.suites.claims import built_in_claims
    from vaebench.suites.verdicts import by_source, read_judgements, records, report_folders
    from vaebench.suites.verdicts import verdicts as laid_out

    judged = [each for folder in folders or report_folders(REPORTS) for each in read_judgements(folder)]
    if for_machines():
        show(Table(columns=[], rows=[], records=records(built_in_claims(), judged)))
    elif out.is_terminal and form() == "fitted":
        show_verdicts(by_source(built_in_claims(), judged))
    else:
        say(laid_out(built_in_claims(), judged).rstrip("\n"))


@suites.command(epilog="Example: vaebench suite run digits")
def run(
    given: Given,
    only: Annotated[Part | None, typer.Option(help="train, evaluate or report: that part alone")] = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="only the I-th of N shares of the trainings")] = "1/1",
    evidence: Annotated[bool, typer.Option("--evidence", help="lay beside the report what it was made from")] = False,
    device: Device = "auto",
    out_dir: Out = REPORTS,
    full: Full = False,
    plain: Plain = False,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """Train and measure what is missing, write the report. Safe to repeat, goes on where it stopped."""
    run_suite(opened(given), only=only, shard=shard, device=device, out_dir=out_dir, evidence=evidence, full=full)


def run_suite(
    located: "Located",
    *,
    only: Part | None,
    shard: str,
    device: str,
    out_dir: Path,
    evidence: bool = False,
    full: bool = False,
) -> None:
    """Run a suite, or one part of it.

    Raises:
        UserError: something in the suite is wrong, or cannot be trained or measured.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    from vaebench.cli.jobs import share, train_jobs
    from vaebench.cli.main import app
    from vaebench.cli.progress import stages_shown
    from vaebench.suites.running import look, measure, refuse_problems
    from vaebench.suites.work import jobs_of

    refuse_problems(located)
    if shard != "1/1" and only != "train":
        raise UserError("--shard shares out trainings: add --only train, and run the suite whole when all are done")
    wrong: list[str] = []
    chosen = _chosen(located, device)
    jobs = [] if only == "report" else jobs_of(located, chosen)  # which may need images, and a trial
    if only in (None, "train"):
        if names := list(dict.fromkeys(job.recipe.name for job in jobs)):
            say(f"Training {' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))} on {_images(located)}.")
        train_jobs(share(jobs, shard), chosen, resume=True, console=talk())
    if only in (None, "evaluate"):
        say(f"Measuring them on the test images of {located.suite.dataset.name}.")
        with stages_shown(talk()):
            measure(located, jobs, device, say)
        with without_reports():
            wrong = look(located, lambda arguments: _command(app, arguments))
    if only in (None, "report"):
        _conclude(located, out_dir, evidence=evidence, full=full)
    if wrong:  # what it lacks is a picture: everything else is done
        for each in wrong[1:]:
            say(each)
        raise UserError(wrong[0])


def _command(app: typer.Typer, arguments: list[str]) -> None:
    """Run a command; what is wrong with its options is said as everything else is."""
    try:
        app(arguments, standalone_mode=False)
    except UsageError as error:
        raise UserError(error.format_message()) from error


def _chosen(located: "Located", device: str) -> "Choose":
    """Complete compute settings as the suite asks for them."""
    from functools import partial

    from vaebench.training.compute import choose

    asked = located.suite.compute
    return partial(choose, device=device, precision=asked.precision, threads=asked.threads)


def _images(located: "Located") -> str:
    return located.suite.data or located.suite.dataset.name


def _conclude(located: "Located", out_dir: Path, *, evidence: bool, full: bool) -> None:
    """Write the report and show its answer."""
    from vaebench.cli.answer_screen import show_answers
    from vaebench.cli.prose import working
    from vaebench.report import freshness
    from vaebench.report.section import SuiteReport
    from vaebench.report.write import Report, write_report
    from vaebench.suites.claims import built_in_claims, claims_of
    from vaebench.suites.work import names_of

    suite = located.suite
    own = SuiteReport(
        name=located.name,
        title=suite.title,
        source=suite.source,
        models=frozenset(names_of(located)),
        seeds=frozenset(suite.seeds),
    )
    sources = built_in_claims(suite.dataset.name)
    wanted = Report(claims=claims_of(located), sources=sources, suite=own, evidence=evidence)
    say_if_replaced(located.name, out_dir)
    request = {"suite": located.name}
    made_from = freshness.sources(request)
    with working(f"testing and drawing what was measured of {located.name}"):
        folder, _ = write_report(suite.dataset.name, out_dir, wanted)
    freshness.remember(request, out_dir, [located.name], made_from)
    show_answers(folder, [*suite.next, *_more_seeds(located)], full=full, claims=6)


def _more_seeds(located: "Located") -> list[str]:
    """Say how to rank recipes where a suite has one training seed of each."""
    from vaebench.suites import built_in
    from vaebench.suites.work import recipes_of

    names = [recipe.name for _, recipe, _ in recipes_of(located)]
    if len(located.suite.seeds) != 1 or not names:
        return []
    if located.path in built_in().values():
        return [f"vaebench train {' '.join(names)} --seeds 0,1,2 --resume; vaebench evaluate --all"]
    # names, budget and settings stand in the file alone
    return [f"write seeds = [0, 1, 2] into {located.path}, then vaebench suite run {located.path}"]


def opened(given: str) -> "Located":
    """Read the suite that a user means, by file or name."""
    from vaebench.suites import find_suite
    from vaebench.suites.reading import read_suite

    return read_suite(find_suite(given))


def _size(located: "Located") -> str:
    suite = located.suite
    counts = {"model": len(suite.models), "seed": len(suite.seeds), "claim": len(suite.claims)}
    parts = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count]
    return f"{', '.join(parts)} on {suite.dataset.name}"


def _time(seconds: float) -> str:
    """Write seconds as one would say them; empty for none."""
    if seconds <= 0:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
