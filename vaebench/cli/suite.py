"""Commands of suites: a benchmark as a file, run from its first training to its report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vaebench.cli.console import REPORTS, Device, Out, out, say
from vaebench.core.errors import UserError

if TYPE_CHECKING:
    from vaebench.suites.suite import Located

suites = typer.Typer(help="Benchmarks as files: train, measure and report what one names.", no_args_is_help=True)
Given = Annotated[str, typer.Argument(metavar="FILE|NAME", help="a suite's file, or one of 'vaebench suite list'")]
Part = Literal["train", "evaluate", "report"]


@suites.command("list")
def list_() -> None:
    """The suites that come with vaebench."""
    from vaebench.suites import built_in
    from vaebench.suites.reading import read_suite

    for name, path in built_in().items():
        suite = read_suite(path).suite
        say(f"{name:24} {suite.title}")
        say(f"{'':24} {suite.dataset.name}, {len(suite.models)} models, seeds {', '.join(map(str, suite.seeds))}")


@suites.command(epilog="Example: vaebench suite check mine.toml")
def check(given: Given) -> None:
    """Look for what is wrong in a suite's file before anything runs: every key, name, budget and claim."""
    from vaebench.suites.checking import problems

    located = _opened(given)
    found = problems(located)
    if found:
        for problem in found[1:]:
            say(problem)
        raise UserError(found[0])
    say(f"{located.path}: in order; {_size(located)}")


@suites.command(epilog="Example: vaebench suite status digits")
def status(given: Given, device: Device = "auto") -> None:
    """What of a suite is done, what is left, and how long that takes on this machine."""
    from functools import partial

    from vaebench.report.analysis.formatting import to_text
    from vaebench.suites.running import refuse_problems
    from vaebench.suites.status import states
    from vaebench.suites.work import jobs_of
    from vaebench.training.compute import choose

    located = _opened(given)
    refuse_problems(located)
    chosen = partial(choose, device=device)
    found = list(states(jobs_of(located, chosen), chosen))
    rows = [
        [each.run, f"{each.done:,} of {each.steps:,}", "yes" if each.measured else "no", _time(each.seconds)]
        for each in found
    ]
    for line in to_text(["run", "steps", "measured", "left"], rows):
        say(line)
    left = sum(each.seconds for each in found)
    done = sum(each.trained for each in found)
    say(f"{done} of {len(found)} trained; {_time(left) or 'nothing'} of training left on this machine")


@suites.command(epilog="Example: vaebench suite run digits")
def run(
    given: Given,
    only: Annotated[Part | None, typer.Option(help="train, evaluate or report: that part alone")] = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="only the I-th of N shares of the trainings")] = "1/1",
    device: Device = "auto",
    out_dir: Out = REPORTS,
) -> None:
    """Train what is missing, measure what is missing, write the report; safe to repeat, goes on where it stopped."""
    run_suite(_opened(given), only=only, shard=shard, device=device, out_dir=out_dir)


def run_suite(located: "Located", *, only: Part | None, shard: str, device: str, out_dir: Path) -> None:
    """Run a suite, or one part of it.

    Raises:
        UserError: something in the suite is wrong, or cannot be trained or measured.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    from functools import partial

    from vaebench.cli.jobs import share, train_jobs
    from vaebench.cli.main import app
    from vaebench.suites.running import look, measure, refuse_problems
    from vaebench.suites.work import jobs_of
    from vaebench.training.compute import choose

    refuse_problems(located)
    if shard != "1/1" and only is None:
        raise UserError("--shard shares out trainings: add --only train, and run the suite whole when all are done")
    chosen = partial(choose, device=device)
    jobs = jobs_of(located, chosen)
    if only in (None, "train"):
        train_jobs(share(jobs, shard), chosen, resume=True, console=out)
    if only in (None, "evaluate"):
        measure(located, jobs, device, say)
    if only in (None, "report"):
        look(located, lambda arguments: app([*arguments, "--out", str(out_dir)], standalone_mode=False))
        _report(located, out_dir)


def _report(located: "Located", out_dir: Path) -> None:
    from vaebench.cli.console import write_reports

    write_reports({located.suite.dataset.name: []}, out_dir)


def _opened(given: str) -> "Located":
    from vaebench.suites import find_suite
    from vaebench.suites.reading import read_suite

    return read_suite(find_suite(given))


def _size(located: "Located") -> str:
    suite = located.suite
    parts = [f"{len(suite.models)} models", f"{len(suite.seeds)} seeds", f"{len(suite.claims)} claims"]
    return f"{', '.join(parts)} on {suite.dataset.name}"


def _time(seconds: float) -> str:
    """Write seconds as one would say them; empty for none."""
    if seconds <= 0:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
