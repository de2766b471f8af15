"""Check a suite before anything runs: every name and key that can be known beforehand, each problem with its line."""

import math
import re
from collections.abc import Callable, Iterator
from functools import partial

import torch

from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.metric import MetricSpec
from vaebench.core.registry import did_you_mean
from vaebench.core.strata import strata
from vaebench.core.subjects import EXTERNAL
from vaebench.datasets import DATASETS
from vaebench.evaluation.external import PAIRINGS, check_name
from vaebench.evaluation.outside_models import read_name
from vaebench.evaluation.results_store import label_columns
from vaebench.metrics import METRICS
from vaebench.report.analysis.claims import check, parse
from vaebench.runs.recipes import dataset_of_recipe, load_split
from vaebench.suites.suite import Located
from vaebench.suites.work import beside, names_in_studies, names_of, protocol_of, recipe_at, recipes_of

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
        kinds = [kind for kind in ("recipe", "model", "images") if getattr(model, kind)]
        if len(kinds) != 1:
            said = " and ".join(kinds) if kinds else "nothing"
            yield f"{located.place('models', place)}: this model has {said}: give one of recipe, model, images"
        elif kinds == ["recipe"]:
            yield from _trained(located, place, names)
        else:
            yield from _made_elsewhere(located, place, names)


def _trained(located: Located, place: int, names: set[str]) -> Iterator[str]:
    """Check a recipe; its name joins ``names``."""
    model, where = located.suite.models[place], located.place("models", place)
    if model.paired:
        yield f"{where}: paired is of images from elsewhere: leave it away"
    if model.epochs is not None and model.steps is not None:
        yield f"{where}: epochs and steps both set the length: give one of them"
    if said := _said(partial(recipe_at, located, place)):
        yield said
        return
    name = recipe_at(located, place)[0].name
    if name.casefold() in names:  # macOS and Windows take a and A for one folder
        yield f"{where}: '{name}' is there already: give this one a name, or other settings"
    names.add(name.casefold())


def _made_elsewhere(located: Located, place: int, names: set[str]) -> Iterator[str]:
    """Check a model or images from elsewhere; its name joins ``names``."""
    model, where = located.suite.models[place], located.place("models", place)
    if not model.name:
        yield f"{where}: a model or images from elsewhere need a name in the tables: add name"
    elif said := _said(partial(read_name if model.model else check_name, model.name)):
        yield f"{located.place('models', place, 'name')}: {said.removeprefix('--')}"
    if model.settings or model.epochs or model.steps:
        yield f"{where}: settings, epochs and steps are of recipes, which are trained: leave them away"
    if model.paired and (model.model or model.paired not in PAIRINGS):
        said = did_you_mean(model.paired, PAIRINGS) if model.images else "a model needs none: leave it away"
        yield f"{located.place('models', place, 'paired')}: paired = '{model.paired}' is unknown: {said}"
    if model.images and not beside(located, model.images).exists():
        said = f"{beside(located, model.images)} does not exist: make the images first, or name where they are"
        yield f"{located.place('models', place, 'images')}: {said}"
    if f"{EXTERNAL}{model.name}" in names:
        yield f"{where}: the name '{model.name}' is given twice: give each its own"
    names.add(f"{EXTERNAL}{model.name}")


def _budget(located: Located) -> Iterator[str]:
    given = located.suite.budget.given
    for kind in [kind for kind, amount in given.items() if math.isinf(amount)]:
        yield f"{located.place('budget', kind)}: {kind} = inf is no budget: give a number"
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
    data = _images(located)
    images = data or _made_up(located)
    for metric in protocol_of(located).build(images):
        specs.setdefault(metric.spec.name, []).append(metric.spec)
    names, parts = names_of(located), None if data is None else strata(label_columns(data))
    for place, claim in enumerate(located.suite.claims):
        where = located.place("claims", place, "claim")
        try:
            comparison = parse(claim.claim)
        except UserError as error:
            yield f"{where}: {error}"
            continue
        classical = [name for name in comparison.names if BASELINES.fullmatch(name)]
        for problem in check(comparison, specs, [*names, *classical], parts):
            yield f"{where}: {problem}"


def _images(located: Located) -> ImageDataset | None:
    """Return the test images, by which metrics choose their defaults; ``None`` where they are not at hand."""
    try:
        recipes = recipes_of(located)
        return load_split(dataset_of_recipe(recipes[0][1]), "test")
    except (UserError, IndexError):
        return None


def _made_up(located: Located) -> ImageDataset:
    """Make up images with labels and attributes, which stand in for those that are not at hand."""
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
    known = names_in_studies(located)
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
                yield f"{where}: '{name}' is none of the recipes that are trained here: {did_you_mean(name, known)}"
