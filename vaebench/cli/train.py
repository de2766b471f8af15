"""The command that trains."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from vaebench.cli import completion
from vaebench.cli.console import Dataset, Device, Settings, out, say
from vaebench.core.errors import UserError
from vaebench.core.processes import processes, processes_here


def train(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(help="names, 'name[key=value]', or ./file.py:function", autocompletion=completion.recipes),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="every recipe (of --dataset)")] = False,
    dataset: Dataset = None,
    seeds: Annotated[str | None, typer.Option(help="such as 0,1,2 or 0-4; default 0")] = None,
    until_decided: Annotated[
        str | None,
        typer.Option(metavar="A,B:METRIC[:PROTOCOL]", help="add seeds of two recipes until a test decides"),
    ] = None,
    most: Annotated[int | None, typer.Option(metavar="N", help="seeds of each at most; default 10")] = None,
    steps: Annotated[int | None, typer.Option(help="length in steps, instead of the recipe's epochs")] = None,
    epochs: Annotated[int | None, typer.Option(help="length in epochs")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option(help="go on with interrupted runs")] = False,
    shard: Annotated[str, typer.Option(metavar="I/N", help="only the I-th of N shares of the runs, from 1")] = "1/1",
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto (measured), fp32 or bf16")] = "auto",
    channels_last: Annotated[bool | None, typer.Option(help="memory layout; default measured")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default measured")] = None,
    fused: Annotated[bool, typer.Option(help="one kernel for an optimiser's step, where it has one")] = True,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile the trained modules")] = False,
    cuda_graphs: Annotated[bool | None, typer.Option(help="capture phases once and replay them; measured")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="read images ahead, not all onto the GPU")] = False,
    sync_batch_norm: Annotated[bool, typer.Option(help="batch normalisation over all of torchrun's processes")] = True,
    snapshots: Annotated[
        str | None, typer.Option(metavar="SHARES", help="keep the model after these shares too: 1/8,1/4,1/2")
    ] = None,
    save_every: Annotated[float, typer.Option(metavar="SECONDS", help="between checkpoints")] = 60.0,
    trackers: Annotated[
        list[str] | None,
        # torchrun of Python 3.11 takes --log for one of its own options, wherever it stands
        typer.Option(
            "--log", "--track", metavar="TRACKER[:WHERE]", help="tensorboard, wandb, mlflow, trackio; may be repeated"
        ),
    ] = None,
) -> None:
    """Train recipes, each with each seed, into the runs folder.

    Under torchrun, every process takes an equal share of each batch. What another worker trains already is passed over.

    --set with several values trains each, and with several keys every combination: --set latent_dim=5,10,20. In texts
    and lists a comma is part of one value: there repeat the option, --set layers=conv1 --set layers=conv1,conv2. A run
    with settings that are not the recipe's own has a name of its own, 'vae-digits[latent_dim=10]', in folders, tables
    and tests; quote it in a shell.

    With --until-decided, seeds 0, 1, 2 and so on of both recipes are trained and measured one after the other, until
    a test that holds whenever one stops tells which is better by the metric, or that they are equivalent within its
    margin.
    The exit code is 0 either way; the same command goes on after an interruption, and with a larger --most.

    --log passes what history.csv gets, settings, samples and final facts on: tensorboard[:DIR] into event files,
    wandb[:ENTITY/PROJECT] as WANDB_MODE says, mlflow[:URI] into mlflow.db beside the runs, trackio[:PROJECT]. Under
    torchrun write --track.
    """
    from vaebench.cli.jobs import chosen_recipes, numbers, share, shares, train_jobs
    from vaebench.core.distributed import joined
    from vaebench.trackers import read_wanted
    from vaebench.training import compute
    from vaebench.training.job import Job

    if steps is not None and epochs is not None:
        raise UserError("--steps and --epochs both set the length: give one of them")
    if until_decided is None and most is not None:
        raise UserError("--most is the limit of --until-decided: give both, or choose the seeds by --seeds")
    jobs, asked, kept, tracked = [], None, shares(snapshots), read_wanted(trackers or ())
    if until_decided is None:
        found = chosen_recipes(recipes or [], settings or [], say, every=every, dataset=dataset)
        jobs = [
            Job(recipe=recipe, reference=reference, seed=seed, steps=steps, epochs=epochs, snapshots=kept)
            for seed in numbers("0" if seeds is None else seeds)
            for recipe, reference in found
        ]
        jobs = share(jobs, shard)
    else:
        from vaebench.cli.until_decided import MOST, read_asked, train_until_decided

        given = {"--all": every, "--dataset": dataset, "--seeds": seeds is not None, "--shard": shard != "1/1"}
        given["--snapshots"] = snapshots is not None
        _refuse([option for option, there in given.items() if there])
        limit = MOST if most is None else most
        asked = read_asked(until_decided, limit, recipes or [], settings or [], steps=steps, epochs=epochs)
    with joined(device) as group:
        choose = partial(
            compute.agreed,
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
        choose()  # flags that cannot be are refused before images are read
        if asked is None:
            train_jobs(jobs, choose, resume=resume, save_every=save_every, console=out, trackers=tracked, group=group)
        else:  # what was interrupted goes on, whether --resume is given or not
            train_until_decided(
                asked, choose, device=device, save_every=save_every, console=out, say=say, trackers=tracked
            )


def _refuse(options: Sequence[str]) -> None:
    """Refuse what cannot stand beside ``--until-decided``."""
    if options:
        raise UserError(f"--until-decided chooses recipes and seeds, one run after the other: leave {options[0]} away")
    if processes() > 1:
        raise UserError("--until-decided trains and measures in one process: start it without torchrun")
