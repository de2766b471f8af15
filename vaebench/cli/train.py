"""The command that trains: one process, several at one run (``torchrun``), or several runs at once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vaebench.cli.console import Dataset, Device, Settings, out, say
from vaebench.core.errors import UserError
from vaebench.core.processes import cores, processes, processes_here

if TYPE_CHECKING:
    from vaebench.training.job import Job

JOBS_HELP = "runs to train at once, each in a process of its own; auto: measured"


def train(
    context: typer.Context,
    recipes: Annotated[list[str] | None, typer.Argument(help="names, or ./file.py:function")] = None,
    every: Annotated[bool, typer.Option("--all", help="every recipe (of --dataset)")] = False,
    dataset: Dataset = None,
    seeds: Annotated[str, typer.Option(help="comma-separated")] = "0",
    steps: Annotated[int | None, typer.Option(help="length in steps, instead of the recipe's epochs")] = None,
    epochs: Annotated[int | None, typer.Option(help="length in epochs")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option(help="go on with interrupted runs")] = False,
    shard: Annotated[str, typer.Option(metavar="I/N", help="only the I-th of N shares of the runs, from 1")] = "1/1",
    jobs: Annotated[str, typer.Option(metavar="N|auto", help=JOBS_HELP)] = "1",
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto (measured), fp32 or bf16")] = "auto",
    channels_last: Annotated[bool | None, typer.Option(help="memory layout; default measured")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default measured")] = None,
    fused: Annotated[bool, typer.Option(help="one kernel for an optimiser's step, where it has one")] = True,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile the trained modules")] = False,
    cuda_graphs: Annotated[bool, typer.Option("--cuda-graphs", help="capture phases once and replay them")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="read images ahead, not all onto the GPU")] = False,
    sync_batch_norm: Annotated[bool, typer.Option(help="batch normalisation over all of torchrun's processes")] = True,
    save_every: Annotated[float, typer.Option(metavar="SECONDS", help="between checkpoints")] = 60.0,
) -> None:
    """Train recipes, each with each seed, into the runs folder.

    Under torchrun, every process takes an equal share of each batch. What another worker trains already is passed over.
    """
    from vaebench.cli import job_queue
    from vaebench.core.distributed import joined
    from vaebench.datasets import DATASETS
    from vaebench.runs import recipes as recipes_module
    from vaebench.training import compute
    from vaebench.training.job import Job

    if steps is not None and epochs is not None:
        raise UserError("--steps and --epochs both set the length: give one of them")
    if dataset is not None:
        DATASETS.get(dataset)  # a misspelt name is said as such
    chosen = [recipes_module.find_recipe(name, settings or []) for name in recipes or []]
    chosen += recipes_module.every_recipe(settings or [], say) if every and not recipes else []
    chosen = [(recipe, reference) for recipe, reference in chosen if dataset in (None, recipe.dataset)]
    if not chosen:
        raise UserError("nothing to train: name a recipe, or --all; 'vaebench list recipes' shows what there is")
    work = [
        Job(recipe=recipe, reference=reference, seed=seed, steps=steps, epochs=epochs)
        for seed in _numbers(seeds)
        for recipe, reference in chosen
    ]
    work = _share(work, shard)
    at_once = min(_at_once(jobs, device), max(len(work), 1))
    if at_once > 1:
        limit = threads or max(1, cores() // at_once)
        flags = [["--seeds", str(job.seed), "--threads", str(limit)] for job in work]
        commands = [_command(context, job.reference, more) for job, more in zip(work, flags, strict=True)]
        compute.choose(device=device)  # measured now, while nothing else computes, and for all of them
        raise typer.Exit(job_queue.train_at_once(commands, at_once, console=out))
    with joined(device) as group:
        picked = compute.agreed(
            group,
            device=device,
            precision=precision,
            channels_last=channels_last,
            threads=threads,
            sharing=processes_here(),
            compile=compile_,
            fused=fused,
            cuda_graphs=cuda_graphs,
            stream=stream,
            processes=group.size,
            sync_batch_norm=sync_batch_norm,
        )
        job_queue.train_jobs(work, picked, resume=resume, save_every=save_every, console=out, group=group)


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() and len(part) < 16 for part in parts) or len(set(map(int, parts))) < len(parts):
        raise UserError(f"--seeds {text!r} is no list of different whole numbers: write e.g. --seeds 0,1,2")
    return [int(part) for part in parts]


def _share(work: "Sequence[Job]", shard: str) -> "list[Job]":
    """Every n-th of the work, from the i-th on."""
    number, slash, count = shard.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise UserError(f"--shard {shard!r} is no share: write I/N with I from 1 to N, e.g. --shard 2/8")
    return list(work[int(number) - 1 :: int(count)])


def _at_once(text: str, device: str) -> int:
    from vaebench.training.compute import jobs_at_once

    if text != "auto" and not (text.isdigit() and int(text) > 0):
        raise UserError(f"--jobs {text!r} is no number of runs to train at once: give 1 or more, or auto")
    wanted = jobs_at_once(device) if text == "auto" else int(text)
    if wanted > 1 and processes() > 1:
        raise UserError("--jobs trains several runs at once, torchrun one run in several processes: choose one of them")
    return wanted


def _command(context: typer.Context, reference: str, more: Sequence[str]) -> list[str]:
    """The arguments that train one run as this command would: its options, written out."""
    words = ["train", reference]
    for parameter in context.command.params:
        value = context.params[parameter.name or ""]
        if parameter.param_type_name != "option" or value in (None, parameter.default) or value == []:
            continue
        if parameter.name in ("every", "dataset", "seeds", "shard", "jobs", "threads"):
            continue
        if isinstance(value, bool):
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        else:
            values = value if isinstance(value, list | tuple) else [value]
            words += [word for item in values for word in (parameter.opts[0], str(item))]
    return [*words, *more]
