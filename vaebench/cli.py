"""The command line: parse, call, print. Engines are imported by the command that runs, so --help is instant."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vaebench.core.errors import Interrupted, UserError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train, measure, test and rank generative image models. Start with: vaebench quickstart",
)
out = Console()
err = Console(stderr=True)

Runs = Annotated[list[str], typer.Argument(help="recipe (all its seeds), recipe/seed-k, external/NAME, or a path")]
Dataset = Annotated[str | None, typer.Option("--dataset", help="only this dataset")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="may be repeated")]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """Options that every command takes; main() has taken --debug out of the arguments already."""


def _say(text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)


@app.command(epilog="Example: vaebench train vae-mnist dfcvae-mnist --seeds 0,1,2 --set latent_dim=10")
def train(
    recipes: Annotated[list[str] | None, typer.Argument(help="names, or ./file.py:function")] = None,
    every: Annotated[bool, typer.Option("--all", help="every recipe (of --dataset)")] = False,
    dataset: Dataset = None,
    seeds: Annotated[str, typer.Option(help="comma-separated")] = "0",
    steps: Annotated[int | None, typer.Option(help="length in steps, instead of the recipe's epochs")] = None,
    epochs: Annotated[int | None, typer.Option(help="length in epochs")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option(help="go on with interrupted runs")] = False,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto (measured), fp32 or bf16")] = "auto",
    channels_last: Annotated[bool, typer.Option(help="memory layout of images and convolutions")] = True,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile the trained modules")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default measured")] = None,
) -> None:
    """Train recipes, each with each seed, into the runs folder."""
    from vaebench import compute, runs
    from vaebench.builtins import RECIPES

    if steps is not None and epochs is not None:
        raise UserError("--steps and --epochs both set the length: give one of them")
    chosen = [runs.find_recipe(name, settings or []) for name in recipes or (RECIPES.names() if every else [])]
    chosen = [(recipe, reference) for recipe, reference in chosen if dataset in (None, recipe.dataset)]
    if not chosen:
        raise UserError("nothing to train: name a recipe, or --all; 'vaebench list recipes' shows what there is")
    picked = compute.choose(
        device=device, precision=precision, channels_last=channels_last, compile=compile_, threads=threads
    )
    jobs = [
        runs.Job(recipe=recipe, reference=reference, seed=seed, steps=steps, epochs=epochs)
        for seed in _numbers(seeds)
        for recipe, reference in chosen
    ]
    _train_all(jobs, picked, resume=resume)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text!r} is no list of whole numbers: write e.g. --seeds 0,1,2") from None


def _train_all(jobs: "Sequence[runs.Job]", picked: "compute.Compute", *, resume: bool) -> None:  # noqa: F821
    from vaebench import runs
    from vaebench.progress import shown

    data = {}
    for job in jobs:
        key = (job.recipe.dataset, str(job.recipe.dataset_options))
        if key not in data:
            source = runs.open_dataset(job.recipe.dataset, dict(job.recipe.dataset_options))
            data[key] = runs.load_split(source, "train")
        title = f"{job.recipe.name}/seed-{job.seed}"
        with shown(out, title) as on_progress:
            trained = runs.train_run(job, data[key], picked, resume=resume, on_progress=on_progress)
        _say(f"{title}: trained, in {job.folder.path}" if trained else f"{title}: already trained, left as it is")


# typer's own usage errors, whichever click it builds on (newer ones carry their own)
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit codes as INTERFACE.md fixes them."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in given
    code, problem = 0, ""
    try:
        code = app([argument for argument in given if argument != "--debug"], standalone_mode=False) or 0
    except (UserError, UsageError) as error:
        if debug:
            raise
        code, problem = 2, f"error: {error}"
    except Interrupted as error:
        code, problem = 130, f"interrupted: {error}; go on with --resume"
    except (KeyboardInterrupt, typer.Abort):
        code, problem = 130, "interrupted"
    if problem:
        err.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)
