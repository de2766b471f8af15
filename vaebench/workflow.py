"""Several runs in a row, as ``train`` and ``quickstart`` want them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from vaebench import compute, runs
from vaebench.core.dataset import ImageDataset
from vaebench.measurement import Protocol, evaluate_runs
from vaebench.progress import shown
from vaebench.report.between import between
from vaebench.report.write import write_report

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


def train_jobs(
    jobs: Sequence[runs.Job],
    picked: compute.Compute,
    *,
    resume: bool,
    console: Console,
    save_every: float = 60.0,
) -> None:
    """Train each job in turn; a dataset is read once. What is finished already is left as it is."""
    loaded: dict[str, ImageDataset] = {}
    for job in jobs:
        key = f"{job.recipe.dataset} {sorted(job.recipe.dataset_options.items())}"
        if key not in loaded:
            source = runs.open_dataset(job.recipe.dataset, dict(job.recipe.dataset_options))
            loaded[key] = runs.load_split(source, "train")
        title = f"{job.recipe.name}/seed-{job.seed}"
        with shown(console, title) as on_progress:
            trained = runs.train_run(
                job, loaded[key], picked, resume=resume, save_every=save_every, on_progress=on_progress
            )
        done = f"trained, in {job.folder.path}" if trained else "already trained, left as it is"
        console.print(f"{title}: {done}", highlight=False, markup=False, soft_wrap=True)


def quickstart(chosen: Quickstart, out: Path, console: Console, say: Callable[[str], None]) -> None:
    """Train, measure and rank the families; safe to repeat, goes on where it stopped."""
    names = chosen.recipes
    say(f"Training {', '.join(names[:-1])} and {names[-1]} on {chosen.data}.")
    found = [runs.find_recipe(name) for name in names]
    jobs = [runs.Job(recipe=recipe, reference=reference, seed=0) for recipe, reference in found]
    train_jobs(jobs, compute.choose(), resume=True, console=console)
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
    say(f"Next: vaebench compare {names[3]} {names[1]}; vaebench explain {names[0]} blur; vaebench list")
