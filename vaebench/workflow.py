"""Several runs in a row, as ``train`` and ``quickstart`` want them."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from rich.console import Console

from vaebench import compute, runs
from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import Interrupted
from vaebench.distribution import ALONE, Group
from vaebench.interrupts import noted
from vaebench.jobs import Job, train_run
from vaebench.measurement import evaluate_runs
from vaebench.progress import shown
from vaebench.protocol import Protocol
from vaebench.report.between import between
from vaebench.report.write import write_report

LOOK_UP = 0.5  # seconds
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


DONE = {
    "trained": "trained, in {}",
    "finished": "already trained, left as it is",
    "busy": "another process is at work in {}, passed over",
}


def train_jobs(
    jobs: Sequence[Job],
    picked: compute.Compute,
    *,
    resume: bool,
    console: Console,
    save_every: float = 60.0,
    group: Group = ALONE,
) -> None:
    """Train each job in turn; a dataset is read once. What is finished already is left as it is.

    So is what another process trains just now, where there are several jobs to share out among workers.
    """
    loaded: dict[str, ImageDataset] = {}
    for job in jobs:
        key = f"{job.recipe.dataset} {sorted(job.recipe.dataset_options.items())}"
        if key not in loaded:
            source = runs.open_dataset(job.recipe.dataset, dict(job.recipe.dataset_options))
            loaded[key] = runs.load_split(source, "train")
        title = f"{job.recipe.name}/seed-{job.seed}"
        with shown(console, title) as on_progress:
            outcome = train_run(
                job, loaded[key], picked, resume=resume, save_every=save_every, on_progress=on_progress, group=group
            )
        if outcome == "busy" and len(jobs) == 1:
            raise group.error(f"another process is at work in {job.folder.path}: wait for it, or stop it")
        _print(console, f"{title}: {DONE[outcome].format(job.folder.path)}")


def train_at_once(commands: Sequence[Sequence[str]], count: int, console: Console) -> int:
    """Run each command line in a process of its own, ``count`` at a time; the first exit code that is not 0.

    After a failure nothing more begins, and what is running finishes. Raises :class:`Interrupted` on SIGINT or SIGTERM,
    once what was running has saved its state; a process that died of a signal of its own is a ``RuntimeError``.
    """
    workers: list[subprocess.Popen[str]] = []
    starting = Lock()

    def run(words: Sequence[str]) -> None:
        with starting:  # an interruption finds a process among the workers, or none that begins
            if stopped() or any(worker.poll() for worker in workers):
                return
            # a group of its own: an interruption reaches it once, through this process
            worker = subprocess.Popen(
                [sys.executable, "-m", "vaebench", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                process_group=0,
            )
            workers.append(worker)
        with worker:
            for line in worker.stdout or ():
                _print(console, line.rstrip())

    def tell(number: int) -> None:
        with starting:
            for worker in workers:
                worker.send_signal(number)

    with noted(tell) as stopped, ThreadPoolExecutor(count) as places:
        trainings = [places.submit(run, words) for words in commands]
        # looks up now and then: Python handles a signal in this thread only, and one that comes just before it waits,
        # or to another thread, does not wake it
        while wait(trainings, timeout=LOOK_UP).not_done:
            pass
        for training in trainings:
            training.result()
    if stopped():
        raise Interrupted("what was running is saved or finished, the rest not begun")
    failed = [worker.returncode for worker in workers if worker.returncode]
    if failed and failed[0] < 0:
        raise RuntimeError(f"a training died of signal {-failed[0]}")
    return failed[0] if failed else 0


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def quickstart(chosen: Quickstart, out: Path, console: Console, say: Callable[[str], None]) -> None:
    """Train, measure and rank the families; safe to repeat, goes on where it stopped."""
    names = chosen.recipes
    say(f"Training {', '.join(names[:-1])} and {names[-1]} on {chosen.data}.")
    found = [runs.find_recipe(name) for name in names]
    jobs = [Job(recipe=recipe, reference=reference, seed=0) for recipe, reference in found]
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
