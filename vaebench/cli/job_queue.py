"""Several runs in a row, as ``train`` and ``quickstart`` want them."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Lock

from rich.console import Console

from vaebench.cli.progress import shown
from vaebench.core.dataset import ImageDataset
from vaebench.core.distributed import ALONE, Group
from vaebench.core.errors import Interrupted
from vaebench.core.interrupts import noted
from vaebench.runs import recipes
from vaebench.training import compute
from vaebench.training.job import Job, train_run

LOOK_UP = 0.5  # seconds


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
            source = recipes.open_dataset(job.recipe.dataset, dict(job.recipe.dataset_options))
            loaded[key] = recipes.load_split(source, "train")
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
