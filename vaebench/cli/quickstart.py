"""The quickstart: four families trained, measured and ranked on data that need no download."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from vaebench.cli.jobs import train_jobs
from vaebench.evaluation.evaluate import evaluate_runs
from vaebench.evaluation.protocol import Protocol
from vaebench.report.compare import between
from vaebench.report.write import write_report
from vaebench.runs.recipes import find_recipe
from vaebench.training import compute
from vaebench.training.job import Job

FAMILIES = ("vae", "dfcvae", "dcgan", "vaewgan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quickstart:
    """The four families on data that come with vaebench or its dependencies."""

    dataset: str
    data: str  # in words
    test: str
    samples: int
    studies: tuple[str, ...]  # what there is to be seen in these models' latent spaces

    @property
    def recipes(self) -> list[str]:
        """One of each family."""
        return [f"{family}-{self.dataset}" for family in FAMILIES]


DIGITS = Quickstart(
    dataset="digits",
    data="1,437 real handwritten digits that come with scikit-learn",
    test="the 360 digits of the test split",
    samples=2_000,
    studies=("interpolate {vae} {dfcvae} --gif", "embed {dfcvae}", "blend {vae} {dfcvae}"),
)


FACES = Quickstart(
    dataset="toyfaces",
    data="12,000 drawn (synthetic) faces with CelebA's 40 attributes",
    test="the 2,000 faces of the test split",
    samples=1_000,
    studies=(
        "interpolate {vae} {dfcvae} {vaewgan}",
        "attributes {vae} {dfcvae} --attributes Smiling,Eyeglasses",
        "correlate {dfcvae}",
        "embed {dfcvae} --attribute Male",
        "blend {vae} {dfcvae} {vaewgan}",
        "webcam {dfcvae} --source VIDEO-OR-CAMERA",
    ),
)


def quickstart(chosen: Quickstart, out: Path, console: Console, say: Callable[[str], None]) -> None:
    """Train, measure and rank the families; safe to repeat, goes on where it stopped."""
    names = chosen.recipes
    say(f"Training {', '.join(names[:-1])} and {names[-1]} on {chosen.data}.")
    found = [find_recipe(name) for name in names]
    jobs = [Job(recipe=recipe, reference=reference, seed=0) for recipe, reference in found]
    train_jobs(jobs, compute.choose, resume=True, console=console)
    say(f"Measuring them on {chosen.test}.")
    # six views are six passes of each encoder; eyes are looked for in every face out of place
    protocol = Protocol(samples=chosen.samples, given={"multi_view": "false", "faces": "60"})
    evaluate_runs([f"{name}/seed-0" for name in names], protocol, every=False, dataset=None, say=say)
    folder, table = write_report(chosen.dataset, out)
    for line in ["", *table, "", f"Is the difference real? {names[1]} and {names[0]}, tested on the same images:"]:
        say(line)
    for line in between(names[1], names[0], brief=True):
        say(line)
    say("")
    say(f"The whole report: {folder / 'index.html'}, one page for a browser; leaderboard.md and tables lie beside it.")
    named = dict(zip(FAMILIES, names, strict=True))
    for study in chosen.studies:
        say(f"Look into latent space: vaebench {study.format(**named)}")
    say(
        "One training seed each: verdicts are about these checkpoints. Ranks of the recipes need three seeds: "
        f"vaebench train {' '.join(names)} --seeds 0,1,2 --resume; vaebench evaluate --all"
    )
    say(f"Next: vaebench compare {names[3]} {names[1]}; vaebench explain {names[0]} blur; vaebench list")
