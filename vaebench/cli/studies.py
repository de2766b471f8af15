"""Commands that look into latent space: pictures beside the runs, their numbers measured, both in the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vaebench.cli import completion
from vaebench.cli.console import REPORTS, Device, Out, RecipeFile, Threads, say
from vaebench.cli.reports import write_reports
from vaebench.core.errors import UserError

if TYPE_CHECKING:
    from vaebench.runs.study_figures import StudyFigure
    from vaebench.studies.opened_runs import OpenedRuns

studies = typer.Typer()

Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...", help="recipe (its first seed), recipe/seed-k, or a path", autocompletion=completion.runs
    ),
]
Seed = Annotated[int, typer.Option(help="of what is chosen at random")]
Chosen = Annotated[int | None, typer.Option("--seed", help="choose test images at random by it")]
Images = Annotated[list[Path] | None, typer.Option("--image", help="your own image file or folder; may be repeated")]
Rows = Annotated[int, typer.Option(min=1, max=100, help="how many")]
Count = Annotated[int, typer.Option(min=1, max=1_000, help="how many images")]
Examples = Annotated[int, typer.Option(help="images with an attribute, and without, for its direction")]


@studies.command(epilog="Example: vaebench sample vae-toyfaces dcgan-toyfaces --count 30")
def sample(
    names: Runs,
    count: Count = 30,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    recipe_file: RecipeFile = None,
    out_dir: Out = REPORTS,
) -> None:
    """Samples of models side by side. They are decoded from draws of the prior."""
    from vaebench.studies.gallery import sample as draw
    from vaebench.studies.opened_runs import open_runs

    opened_runs = open_runs(names, device, say)
    _conclude(opened_runs, draw(opened_runs, count=count, seed=seed), (), device, out_dir)


@studies.command(epilog="Example: vaebench reconstruct vae-toyfaces dfcvae-toyfaces --image me.jpg")
def reconstruct(
    names: Runs,
    images: Images = None,
    count: Count = 10,
    device: Device = "auto",
    threads: Threads = None,
    recipe_file: RecipeFile = None,
    out_dir: Out = REPORTS,
) -> None:
    """Test images, or your own, and their reconstructions. Says which are unlike the data."""
    from vaebench.studies.gallery import reconstruct as draw
    from vaebench.studies.opened_runs import open_runs, shown_pairs
    from vaebench.studies.user_images import load_user_images

    opened_runs = open_runs(names, device, say, encode="reconstruct")
    data = opened_runs.data
    if images:
        drawn = draw(opened_runs, load_user_images(images, data.image_shape, say)[0], own=True)
    else:
        rows = [row for pair in shown_pairs(data, -(-count // 2), None) for row in pair][:count]
        drawn = draw(opened_runs, data.images[rows if data.labels is None else data.showcase_indices(count)], own=False)
    _conclude(opened_runs, drawn, (), device, out_dir)


@studies.command(epilog="Example: vaebench interpolate vae-mnist dfcvae-mnist --pairs 5 --gif")
def interpolate(
    names: Runs,
    pairs: Rows = 5,
    frames: Annotated[int, typer.Option(max=101, help="images on a line, both ends included")] = 11,
    prior: Annotated[bool, typer.Option("--prior", help="between draws from the prior, not images")] = False,
    images: Images = None,
    gif: Annotated[bool, typer.Option("--gif", help="an animation as well")] = False,
    seed: Chosen = None,
    recipe_file: RecipeFile = None,
    device: Device = "auto",
    threads: Threads = None,
    out_dir: Out = REPORTS,
) -> None:
    """Straight lines between two latents, decoded. On digits also which classes appear on the way."""
    from vaebench.studies import interpolate as study
    from vaebench.studies.opened_runs import open_runs

    if prior and images:
        raise UserError("--prior draws its own ends: leave --image away")
    opened_runs = open_runs(
        names, device, say, encode="" if prior else "interpolate between images (--prior needs none)"
    )
    if prior:
        ends = study.prior_ends(pairs)
    elif images:
        ends = study.user_ends(images, opened_runs, say)
    else:
        ends = study.chosen_ends(opened_runs.data, pairs, seed)
    drawn = study.interpolate(opened_runs, ends, frames=frames, gif=gif, seed=seed or 0)
    measured = ("interpolation_smoothness",) if prior else ("interpolation_surprises", "interpolation_smoothness")
    _conclude(opened_runs, drawn, measured, device, out_dir)


@studies.command(epilog="Example: vaebench attributes vae-celeba dfcvae-celeba --attributes Smiling,Eyeglasses")
def attributes(
    names: Runs,
    wanted: Annotated[str, typer.Option("--attributes", help="comma-separated; six of the papers' by default")] = "",
    factors: Annotated[str, typer.Option(help="comma-separated; negative ones take away")] = "0,0.2,0.4,0.6,0.8,1",
    images: Images = None,
    rows: Annotated[int, typer.Option(min=1, max=20, help="test faces an attribute")] = 1,
    examples: Examples = 1_000,
    seed: Seed = 0,
    recipe_file: RecipeFile = None,
    device: Device = "auto",
    threads: Threads = None,
    out_dir: Out = REPORTS,
) -> None:
    """Attributes added to faces or taken away. Measures how far they move, and what moves with them."""
    from vaebench.metrics.probes.attribute_vectors import SIX
    from vaebench.studies import attributes as study
    from vaebench.studies.opened_runs import open_runs
    from vaebench.studies.user_images import load_user_images

    opened_runs = open_runs(names, device, say, encode="take attributes")
    given = None
    if images:
        loaded, files = load_user_images(images, opened_runs.data.image_shape, say)
        given = study.Faces(names=files, images=loaded)
    drawn = study.attributes(
        opened_runs, _listed(wanted), given, factors=_numbers(factors), examples=examples, rows=rows, seed=seed, say=say
    )
    metrics = [f"manipulation_{part}" for part in ("effect", "leakage", "identity", "background")]
    others = set(_listed(wanted)) - set(SIX)  # the usual six are measured together, whichever are drawn
    options = {metric: {"wanted": ",".join(sorted(set(_listed(wanted))))} for metric in metrics} if others else {}
    _conclude(
        opened_runs, drawn, metrics, device, out_dir, options, of_numbers="In numbers, at factor 1 on test images:"
    )


@studies.command(epilog="Example: vaebench correlate dfcvae-celeba --all")
def correlate(
    names: Runs,
    wanted: Annotated[str, typer.Option("--attributes", help="comma-separated; 13 by default")] = "",
    every: Annotated[bool, typer.Option("--all", help="all attributes")] = False,
    examples: Examples = 1_000,
    seed: Seed = 0,
    recipe_file: RecipeFile = None,
    device: Device = "auto",
    threads: Threads = None,
    out_dir: Out = REPORTS,
) -> None:
    """How attributes go together in latent space. Beside it how they go together in the labels."""
    from vaebench.studies.correlate import correlate as draw
    from vaebench.studies.opened_runs import open_runs

    opened_runs = open_runs(names, device, say, encode="say how attributes go together")
    drawn = draw(opened_runs, _listed(wanted), every=every, examples=examples, seed=seed, say=say)
    _conclude(opened_runs, drawn, (), device, out_dir)


@studies.command(epilog="Example: vaebench embed dfcvae-celeba --attribute Smiling")
def embed(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN", help="one: recipe (its first seed), or recipe/seed-k", autocompletion=completion.runs
        ),
    ],
    count: Annotated[
        int, typer.Option(min=16, max=2_500, help="test images; the largest square of them is laid out")
    ] = 1_600,
    attribute: Annotated[str, typer.Option(help="frame the images by it")] = "",
    method: Annotated[Literal["tsne", "umap"], typer.Option(help="umap needs pip install 'vaebench[umap]'")] = "tsne",
    seed: Seed = 0,
    recipe_file: RecipeFile = None,
    device: Device = "auto",
    threads: Threads = None,
    out_dir: Out = REPORTS,
) -> None:
    """Test images laid out by their latents. By t-SNE, snapped to a grid in which none lies over another."""
    from vaebench.studies.embed import embed as draw
    from vaebench.studies.opened_runs import open_runs

    opened_runs = open_runs(names, device, say, encode="lay out images")
    drawn = draw(opened_runs, count=count, attribute=attribute, method=method, seed=seed, say=say)
    _conclude(opened_runs, drawn, (), device, out_dir)


@studies.command(epilog="Example: vaebench blend vae-celeba dfcvae-celeba --image first.jpg --image second.jpg")
def blend(
    names: Runs,
    images: Images = None,
    pairs: Rows = 4,
    weights: Annotated[str, typer.Option(help="of the second image, comma-separated")] = "0,0.25,0.5,0.75,1",
    seed: Chosen = None,
    recipe_file: RecipeFile = None,
    device: Device = "auto",
    threads: Threads = None,
    out_dir: Out = REPORTS,
) -> None:
    """Two images blended by latents and by pixels. Measures how real the blends are.

    Two --image files, or two folders: the first image of one meets the first of the other.
    """
    from vaebench.studies import blend as study
    from vaebench.studies.opened_runs import open_runs

    opened_runs = open_runs(names, device, say, encode="blend")
    chosen = study.user_pairs(images, opened_runs, say) if images else study.chosen_pairs(opened_runs.data, pairs, seed)
    drawn = study.blend(opened_runs, chosen, weights=_numbers(weights))
    _conclude(opened_runs, drawn, ("blend_realism", "blend_adversary"), device, out_dir)


@studies.command(epilog="Example: vaebench webcam dfcvae-celeba --source film.mp4 --attributes Smiling --out read.mp4")
def webcam(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="recipe (its first seed), recipe/seed-k, or a path", autocompletion=completion.runs
        ),
    ],
    source: Annotated[str, typer.Option(metavar="NUMBER|VIDEO", help="a camera's number, or a video file")] = "0",
    wanted: Annotated[str, typer.Option("--attributes", help="comma-separated; the first colours the box")] = "",
    manipulate: Annotated[
        list[str] | None, typer.Option(metavar="NAME=AMOUNT", help="shown beside the face; may be repeated")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="VIDEO", help="write .mp4 or .avi instead of a page")] = None,
    port: Annotated[int, typer.Option(help="of the page on this machine; 0 for any free one")] = 8765,
    detector: Annotated[Path | None, typer.Option(metavar="YUNET.onnx", help="instead of OpenCV's cascade")] = None,
    recipe_file: RecipeFile = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Attributes of faces before a camera or in a video. Read by a run; on a page of this machine, or as a video."""
    from vaebench.studies.webcam import Options, run_webcam

    options = Options(
        source=source,
        attributes=_listed(wanted),
        manipulate=manipulate or [],
        out=out,
        port=port,
        detector=detector,
        device=device,
    )
    run_webcam(name, options, say)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in _listed(text)]
    except ValueError:
        raise UserError(f"{text!r} is no list of numbers: write e.g. 0,0.5,1") from None


def _conclude(
    opened_runs: "OpenedRuns",
    drawn: "tuple[StudyFigure, Path]",
    metrics: Sequence[str],
    device: str,
    out_dir: Path,
    options: Mapping[str, Mapping[str, str]] | None = None,
    of_numbers: str = "",
) -> None:
    """Measure what belongs to the picture, say it, and write the report with both; ``of_numbers`` stands above them."""
    from vaebench.report.analysis import latent_space
    from vaebench.studies.opened_runs import measure_runs

    say(drawn[0].caption)
    say(f"drawn: {', '.join(str(drawn[1].with_name(name)) for name in drawn[0].files)}")
    if drawn[0].own:
        say(f"your own images are in this picture and in your report; the next 'vaebench {drawn[0].name}' replaces it")
    if metrics:
        say("measuring ...")
    measured = measure_runs(opened_runs, metrics, options or {}, device, say)
    if not measured:
        say(
            "not in a report yet, since nothing was measured of these runs: vaebench evaluate "
            + " ".join(opened_runs.recipes)
        )
        return
    lines = latent_space.lines_of(opened_runs.data.name, metrics, measured, set(opened_runs.recipes))
    for text in [of_numbers, *lines] if lines and of_numbers else lines:
        say(text)
    if write_reports({opened_runs.data.name: measured}, out_dir, answer=False) and lines:
        say(f"numbers of latent space: {out_dir / opened_runs.data.name / 'latent_space.csv'}")
