"""Check a suite before anything runs: every name and key that can be known beforehand, each problem with its line."""

import re
from collections.abc import Callable, Iterator
from functools import partial

import torch

from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.metric import MetricSpec
from vaebench.core.registry import did_you_mean
from vaebench.core.subjects import EXTERNAL
from vaebench.datasets import DATASETS
from vaebench.metrics import METRICS
from vaebench.report.analysis.claims import check, parse
from vaebench.runs.recipes import dataset_of_recipe, load_split
from vaebench.suites.suite import Located
from vaebench.suites.work import names_of, protocol_of, recipe_at, recipes_of

# what no model learnt, which every evaluation measures where it applies
BASELINES = re.compile(r"baseline/(majority|pca-\d+|VGG-FC|pixel-average|laplacian-pyramid|fourier-mix)")
STUDIES = ("interpolate", "attributes", "correlate", "embed", "blend", "sample", "reconstruct")


def problems(located: Located) -> list[str]:
    """List what is wrong in a suite, each with file and line; empty where nothing is."""
    found = list(_dataset(located)) or list(_models(located))
    found += [*_budget(located), *_metrics(located)]
    if not found:  # else they would repeat what is wrong with the names
        found = [*_studies(located), *_options(located)]
    return found or list(_claims(located))


def _said(attempt: Callable[[], object]) -> str:
    """Return the message of the error that an attempt ends in, if it does."""
    try:
        attempt()
    except UserError as error:
        return str(error)
    return ""


def _dataset(located: Located) -> Iterator[str]:
    asked = located.suite.dataset
    try:
        DATASETS.get(asked.name)
    except UserError as error:
        yield f"{located.place('dataset', 'name')}: {error}"


def _models(located: Located) -> Iterator[str]:
    names: set[str] = set()
    for place, model in enumerate(located.suite.models):
        where = located.place("models", place)
        kinds = [kind for kind in ("recipe", "model", "images") if getattr(model, kind)]
        if len(kinds) != 1:
            said = " and ".join(kinds) if kinds else "nothing"
            yield f"{where}: this model has {said}: give one of recipe, model, images"
            continue
        if kinds == ["recipe"]:
            if model.paired:
                yield f"{where}: paired is of images from elsewhere: leave it away"
            if model.epochs is not None and model.steps is not None:
                yield f"{where}: epochs and steps both set the length: give one of them"
            if said := _said(partial(recipe_at, located, place)):
                yield said
                continue
            model_name = recipe_at(located, place)[0].name
            if model_name.casefold() in names:  # macOS and Windows take a and A for one folder
                yield f"{where}: '{model_name}' is there already: give this one a name, or other settings"
            names.add(model_name.casefold())
            continue
        if not model.name:
            yield f"{where}: a model or images from elsewhere need a name in the tables: add name"
        if model.settings or model.epochs or model.steps:
            yield f"{where}: settings, epochs and steps are of recipes, which are trained: leave them away"
        if f"{EXTERNAL}{model.name}" in names:
            yield f"{where}: the name '{model.name}' is given twice: give each its own"
        names.add(f"{EXTERNAL}{model.name}")


def _budget(located: Located) -> Iterator[str]:
    given = located.suite.budget.given
    if len(given) > 1:
        yield f"{located.place('budget')}: {' and '.join(given)} both set the length: give one of them"
    asked = located.suite.evaluation.metrics or METRICS.names()
    for metric in located.suite.budget.metrics:
        if metric not in asked:
            where = located.place("budget", "metrics")
            yield f"{where}: the evaluation has no metric '{metric}': {did_you_mean(metric, asked)}"


def _metrics(located: Located) -> Iterator[str]:
    names = METRICS.names()
    for metric in located.suite.evaluation.metrics:
        if metric not in names and not metric.startswith("./"):
            yield f"{located.place('evaluation', 'metrics')}: no metric '{metric}': {did_you_mean(metric, names)}"


def _options(located: Located) -> Iterator[str]:
    """Build the metrics as an evaluation will."""
    if said := _said(protocol_of(located).build):
        wrong = next((name for name in located.suite.evaluation.options if name in said), "")
        yield f"{located.place('evaluation', *(('options', wrong) if wrong else ('metrics',)))}: {said}"


def _claims(located: Located) -> Iterator[str]:
    """Check each claim's grammar, and that what it compares will be measured."""
    if not located.suite.claims:  # no need for images and metrics
        return
    specs: dict[str, list[MetricSpec]] = {}
    for metric in protocol_of(located).build(_images(located)):
        specs.setdefault(metric.spec.name, []).append(metric.spec)
    names = names_of(located)
    for place, claim in enumerate(located.suite.claims):
        where = located.place("claims", place, "claim")
        try:
            comparison = parse(claim.claim)
        except UserError as error:
            yield f"{where}: {error}"
            continue
        classical = [name for name in comparison.names if BASELINES.fullmatch(name)]
        for problem in check(comparison, specs, [*names, *classical]):
            yield f"{where}: {problem}"


def _images(located: Located) -> ImageDataset:
    """Return the test images, by which metrics choose their defaults, or made-up ones with labels and attributes."""
    try:
        recipes = recipes_of(located)
        return load_split(dataset_of_recipe(recipes[0][1]), "test")
    except (UserError, IndexError):
        return ImageDataset(
            name=located.suite.dataset.name,
            split="test",
            images=torch.zeros(2, 3, 64, 64, dtype=torch.uint8),
            ids=["0", "1"],
            labels=torch.arange(2),
            attributes=torch.zeros(2, 1, dtype=torch.bool),
            attribute_names=["any"],
        )


def _studies(located: Located) -> Iterator[str]:
    known = [
        model.name or model.recipe if model.recipe else f"{EXTERNAL}{model.name}" for model in located.suite.models
    ]
    seen: set[str] = set()
    for place, study in enumerate(located.suite.studies):
        if study.study in seen:
            where = located.place("studies", place, "study")
            yield f"{where}: the study '{study.study}' is there already, and has one picture: name all models in one"
        seen.add(study.study)
        if study.study not in STUDIES:
            where = located.place("studies", place, "study")
            yield f"{where}: no study '{study.study}': {did_you_mean(study.study, STUDIES)}"
        for name in study.models:
            if name not in known:
                where = located.place("studies", place, "models")
                yield f"{where}: '{name}' is none of the suite's models: {did_you_mean(name, known)}"
