"""The command that measures: trained runs, a model from elsewhere, or images from elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaebench.cli import completion
from vaebench.cli.console import (
    REPORTS,
    RUN_HELP,
    Csv,
    Dataset,
    Device,
    Full,
    Json,
    Out,
    Plain,
    RecipeFile,
    Threads,
    say,
    talk,
)
from vaebench.cli.progress import stages_shown
from vaebench.cli.reports import write_reports
from vaebench.core.errors import UserError
from vaebench.core.processes import processes
from vaebench.core.validation import as_text

if TYPE_CHECKING:
    from vaebench.evaluation.external import External
    from vaebench.evaluation.outside_models import OutsideModel
    from vaebench.evaluation.protocol import Protocol
    from vaebench.runs.record import RunFolder

    Measured = dict[str, list[RunFolder]]


def evaluate(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help=RUN_HELP, autocompletion=completion.runs)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="every finished run (of --dataset)")] = False,
    dataset: Dataset = None,
    metrics: Annotated[
        str,
        typer.Option(help="comma-separated, or ./file.py:function; default all", autocompletion=completion.metrics),
    ] = "",
    samples: Annotated[
        int | None, typer.Option(help="images drawn from the prior, 10,000; the papers' FID has 50,000")
    ] = None,
    inception: Annotated[int | None, typer.Option(help="feature layer: 64, 192, 768 or 2048 (the usual)")] = None,
    fid_infinity: Annotated[bool, typer.Option("--fid-infinity", help="extrapolate FID to infinite n, too")] = False,
    snapshots: Annotated[bool, typer.Option("--snapshots", help="what 'train --snapshots' kept, too")] = False,
    again: Annotated[bool, typer.Option("--again", help="measure anew what was measured already")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METRIC.OPTION=VALUE", help="of a metric, or of the data: dataset.path=DIR"),
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="SPEC", help="a model trained elsewhere: ./file.py:function, diffusers:DIR, ...")
    ] = "",
    precision: Annotated[str, typer.Option(help="of --model: fp32, bf16 or fp16")] = "fp32",
    range_: Annotated[str, typer.Option("--range", metavar="LOW,HIGH", help="of --model's black and white")] = "",
    posterior: Annotated[str, typer.Option(help="reconstruct from its mean, or from a draw: sample")] = "mean",
    tf32: Annotated[
        bool, typer.Option("--tf32", help="a GPU may round float32 to TF32: faster, its own protocol")
    ] = False,
    command: Annotated[
        str, typer.Option(metavar="TEXT", help="how --model or --images were made: a note kept with their numbers")
    ] = "",
    images: Annotated[
        list[Path] | None,
        typer.Option(help="images made elsewhere: a folder, zip, tar, npz, npy or parquet file; may be repeated"),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="of a model or images, as run external/NAME; one for each --images")
    ] = None,
    reference: Annotated[
        str, typer.Option(help="what they are measured against: DATASET[:SPLIT], images, or a npz of mu and sigma")
    ] = "",
    paired: Annotated[
        str, typer.Option(metavar="[name|position]", help="each belongs to the real image of its name, or of its place")
    ] = "",
    kind: Annotated[str, typer.Option(help="reconstructions or samples")] = "",
    size: Annotated[int | None, typer.Option(help="height and width that --images are scaled to")] = None,
    crop: Annotated[str, typer.Option(help="with --size: centre (the middle square) or none")] = "",
    filter_: Annotated[str, typer.Option("--filter", help="with --size: bicubic, bilinear, lanczos, box")] = "",
    recipe_file: RecipeFile = None,
    device: Device = "auto",
    threads: Threads = None,
    out_dir: Out = REPORTS,
    full: Full = False,
    plain: Plain = False,
    as_csv: Csv = False,
    as_json: Json = False,
) -> None:
    """Measure runs, a model or images from elsewhere. Then write the tables and show what they say.

    Under torchrun, processes share the images that models and networks work on.
    """
    from vaebench.datasets.images.preparation import Preparation
    from vaebench.evaluation.external import External
    from vaebench.evaluation.outside_models import OutsideModel
    from vaebench.evaluation.protocol import Protocol

    if images and samples is not None:
        raise UserError("--images are all measured, and no samples are drawn: leave --samples away")
    if samples is not None and samples < 2:
        raise UserError(f"--samples {samples} is too few to measure: give 2 or more")
    protocol = Protocol(
        metrics=tuple(part.strip() for part in metrics.split(",") if part.strip()),
        options=_metric_options([setting for setting in settings or [] if not _of_data(setting)]),
        given=({} if inception is None else {"inception": str(inception)})
        | ({"infinity": "true"} if fid_infinity else {}),
        samples=Protocol().samples if samples is None else samples,
        again=again,
        device=device,
        posterior=posterior,
        tf32=tf32,
    )
    of_data = [setting.removeprefix("dataset.") for setting in settings or [] if _of_data(setting)]
    command = as_text(command)
    _check_origin(command, posterior, model=bool(model), images=bool(images))
    of_images = {"--reference": reference, "--paired": paired, "--kind": kind, "--size": size, "--crop": crop}
    name = name or [""]
    if len(images or []) < 2:
        name = name[-1:]  # of one thing that is measured the last name counts, as of other options
    _check_images(images or [], name, {**of_images, "--filter": filter_})
    built = protocol.build()  # a misspelt metric or option is said before anything is measured
    asked = {metric.spec.name for metric in built} if protocol.metrics else set()
    write = partial(write_reports, out_dir=out_dir, full=full, metrics=asked)
    if model:
        _check_alone("--model measures one model", "--model is measured", runs=bool(images or names or every))
        (own,) = name
        outside = OutsideModel(
            spec=model, name=own, dataset=dataset or "", options=tuple(of_data), precision=precision, range=range_
        )
        write(_of_model(outside, protocol, command))
    elif images:
        _check_alone("--images measures images made elsewhere", "--images are measured", runs=bool(names or every))
        preparation = Preparation(size=size, crop=crop, filter=filter_)
        given = External(
            name="", reference=reference, paired=paired, kind=kind, preparation=preparation, options=tuple(of_data)
        )
        write(_of_images(dict(zip(name, images, strict=True)), given, protocol, command))
    else:
        options = dict(setting.split("=", 1) for setting in of_data)
        _of_runs(names or [], protocol, write, every=every, dataset=dataset, snapshots=snapshots, options=options)


def _of_runs(
    names: Sequence[str],
    protocol: "Protocol",
    write: "Callable[[Measured], object]",
    *,
    every: bool,
    dataset: str | None,
    snapshots: bool,
    options: Mapping[str, str],
) -> None:
    """Measure runs, together with torchrun's other processes; the one that leads writes the report."""
    from vaebench.core.distributed import joined
    from vaebench.evaluation.evaluate import evaluate_runs

    with joined(protocol.device) as group:
        measure = partial(evaluate_runs, every=every, dataset=dataset, snapshots=snapshots, say=say, group=group)
        with stages_shown(talk()):
            measured = measure(names, protocol, options=options)
        if group.leads:
            write(measured)
        group.wait()


def _of_model(outside: "OutsideModel", protocol: "Protocol", note: str) -> "Measured":
    """Measure a model from elsewhere; keep the user's note of how it was made."""
    from vaebench.evaluation.origin_notes import note_origin
    from vaebench.evaluation.outside_models import evaluate_model

    with stages_shown(talk()):
        measured = evaluate_model(outside, protocol, say)
    note_origin(outside.name, note)
    return measured


def _of_images(sets: Mapping[str, Path], given: "External", protocol: "Protocol", note: str) -> "Measured":
    """Measure sets of images, each under its name; keep the user's note of how they were made."""
    from vaebench.evaluation.external import evaluate_external
    from vaebench.evaluation.origin_notes import note_origin

    measured: Measured = {}
    for own, path in sets.items():
        with stages_shown(talk()):
            measured |= evaluate_external(path, replace(given, name=own), protocol, say)
        note_origin(own, note)
    return measured


def _check_alone(one: str, measured: str, *, runs: bool) -> None:
    """Refuse runs beside what is measured by itself, and several processes."""
    if runs:
        rest = "RUNs, --all and --images" if one.startswith("--model") else "RUNs and --all"
        raise UserError(f"{one}: leave {rest} away")
    if processes() > 1:
        raise UserError(f"{measured} by one process: start it without torchrun")


def _check_origin(note: str, posterior: str, *, model: bool, images: bool) -> None:
    """Refuse options that say nothing of what is measured."""
    from vaebench.evaluation.origin_notes import check_note

    if note and not (model or images):
        raise UserError("--command is of --model or --images: a run's record has the command that trained it")
    if images and posterior != "mean":
        raise UserError("--posterior is of models: images are measured as they are, leave it away")
    check_note(note)


def _check_images(images: Sequence[Path], names: Sequence[str], options: Mapping[str, object]) -> None:
    """Refuse options of images where there are none, and sets of images without a name each."""
    given = next((option for option, value in options.items() if value), "")
    if given and not images:
        raise UserError(f"{given} is of images made elsewhere: add --images PATH, or leave it away")
    if images and len(names) != len(images):
        raise UserError(f"{len(images)} times --images, {len(names)} times --name: give each set its name, in order")
    if len(set(names)) < len(names):
        raise UserError("--name is given twice: give each set of images a name of its own")


def _of_data(setting: str) -> bool:
    """Tell whether ``--set`` is about the data: ``dataset.OPTION=VALUE``."""
    return setting.startswith("dataset.") and "=" in setting


def _metric_options(settings: Sequence[str]) -> dict[str, dict[str, str]]:
    options: dict[str, dict[str, str]] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        metric, dot, option = key.rpartition(".")  # a metric in a file of the user's own has dots in its name
        if not (equals and dot):
            raise UserError(f"--set {setting!r} sets no metric's option: write --set METRIC.OPTION=VALUE")
        options.setdefault(metric, {})[option] = value
    return options
