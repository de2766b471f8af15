"""Several runs in a row, as ``train`` and ``quickstart`` want them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from vaebench import compute, runs
from vaebench.core.dataset import ImageDataset
from vaebench.measurement import Protocol, evaluate_runs
from vaebench.progress import shown
from vaebench.report.between import between
from vaebench.report.write import write_report

QUICKSTART = ("vae-digits", "dfcvae-digits")


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


def quickstart(out: Path, console: Console, say: Callable[[str], None]) -> None:
    """Train, measure and rank the families on scikit-learn's digits; safe to repeat, goes on where it stopped."""
    say(f"Training {' and '.join(QUICKSTART)} on 1,437 real handwritten digits that come with scikit-learn.")
    found = [runs.find_recipe(name) for name in QUICKSTART]
    jobs = [runs.Job(recipe=recipe, reference=reference, seed=0) for recipe, reference in found]
    train_jobs(jobs, compute.choose(), resume=True, console=console)
    say("Measuring both on the 360 digits of the test split.")
    evaluate_runs(
        [f"{name}/seed-0" for name in QUICKSTART], Protocol(samples=2_000), every=False, dataset=None, say=say
    )
    folder, table = write_report("digits", out)
    for line in ["", *table, "", "Is the difference real? Tested on the same images:"]:
        say(line)
    for line in between(*reversed(QUICKSTART), brief=True):
        say(line)
    say("")
    say(f"The whole report: {folder / 'leaderboard.md'}; its pictures: {folder / 'figures'}.")
    say("Next: vaebench compare dfcvae-digits vae-digits; vaebench explain vae-digits blur; vaebench list")
