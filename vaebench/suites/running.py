"""Run a suite: train what is missing, measure what is missing, look into latent spaces, write the report."""

import json
from collections.abc import Callable, Sequence
from hashlib import sha256

from vaebench.core.errors import UserError
from vaebench.core.files import write_text
from vaebench.core.paths import runs_dir
from vaebench.core.setting_names import typed_value
from vaebench.evaluation.evaluate import evaluate_runs
from vaebench.evaluation.external import External, evaluate_external
from vaebench.evaluation.outside_models import OutsideModel, evaluate_model
from vaebench.runs.record import SNAPSHOTS, RunFolder
from vaebench.runs.study_figures import read_study_figures, study_folders
from vaebench.suites.checking import problems
from vaebench.suites.suite import Located, Study
from vaebench.suites.work import STATE, beside, names_in_studies, others_of, protocol_of, snapshot_protocol_of
from vaebench.training.job import Job, lacking_snapshots, snapshot_steps

Say = Callable[[str], None]


def refuse_problems(located: Located) -> None:
    """Raise :class:`UserError` with the first problem of a suite, and how many more there are."""
    found = problems(located)
    if found:
        more = f" (and {len(found) - 1} more: vaebench suite check)" if len(found) > 1 else ""
        raise UserError(found[0] + more)


def measure(located: Located, jobs: Sequence[Job], device: str, say: Say) -> None:
    """Measure the finished runs of a suite, and its models and images from elsewhere; what is measured is left.

    Raises:
        UserError: a model or images cannot be measured.
    """
    protocol = protocol_of(located, device)
    trained = [job for job in jobs if job.is_finished()]
    for job in jobs:
        name = f"{job.recipe.name}/seed-{job.seed}"
        if job not in trained:
            say(f"{name} is not trained yet, and not measured")
        elif lacking := lacking_snapshots(job):
            said = ", ".join(f"{step:,}" for step in lacking)
            say(f"{name} lacks snapshots that this suite measures, after {said} steps: move it away to train it anew")
    names = [f"{job.recipe.name}/seed-{job.seed}" for job in trained]
    if names:
        evaluate_runs(names, protocol, every=False, dataset=None, say=say)
    kept = [
        f"{name}/{SNAPSHOTS}/{one.path.name}" for name, job in zip(names, trained, strict=True) for one in _kept(job)
    ]
    if kept:
        evaluate_runs(kept, snapshot_protocol_of(located, device), every=False, dataset=None, say=say)
    asked = located.suite.dataset
    options = tuple(f"{key}={typed_value(value)}" for key, value in asked.options.items())
    for place, model in others_of(located):
        try:
            if model.model:
                outside = OutsideModel(spec=model.model, name=model.name, dataset=asked.name, options=options)
                evaluate_model(outside, protocol, say)
            else:
                given = External(name=model.name, reference=asked.name, paired=model.paired, options=options)
                evaluate_external(beside(located, model.images), given, protocol, say)
        except UserError as error:
            raise UserError(f"{located.place('models', place)}: {error}") from error


def _kept(job: Job) -> list[RunFolder]:
    """List the whole snapshots of a run that the suite asks for."""
    steps = snapshot_steps(job.snapshots, job.folder.read_record().steps)
    return [folder for folder in job.folder.snapshots() if int(folder.path.name) in steps and _is_whole(folder)]


def _is_whole(folder: RunFolder) -> bool:
    try:
        return folder.read_record().status == "finished"
    except UserError:
        return False


def look(located: Located, study: Callable[[list[str]], None]) -> list[str]:
    """Make the studies of a suite that were not made of these weights, of models that are trained.

    Args:
        located: the suite.
        study: runs a command of the command line, given as its arguments.

    Returns:
        What was wrong, a line each with the file's: one study that cannot be made keeps no other from it.
    """
    wrong: list[str] = []
    path = runs_dir() / STATE / f"{located.suite.dataset.name}.json"  # of all suites: a later picture replaces this
    try:
        done = {str(name): str(key) for name, key in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        done = {}
    names = names_in_studies(located)
    for place, asked in enumerate(located.suite.studies):
        arguments = study_arguments(asked, names, located.suite.seeds[0])
        runs = [name for name in arguments if "/seed-" in name]
        key = _key(arguments, runs)
        if not all((runs_dir() / name / "weights.safetensors").exists() for name in runs):
            continue
        if done.get(asked.study) == key and _is_drawn(asked.study, runs):
            continue
        try:
            study(arguments)
        except UserError as error:
            wrong.append(f"{located.place('studies', place)}: {error}")
            continue
        done[asked.study] = key
        write_text(path, json.dumps(done, sort_keys=True) + "\n")
    return wrong


def _is_drawn(study: str, runs: Sequence[str]) -> bool:
    """Tell whether a study's picture is of these weights: it may be gone, or another command's by now."""
    wanted = {name: RunFolder(runs_dir() / name).read_record().weights_sha256 for name in runs}
    figures = [figure for folder in study_folders() for figure in read_study_figures(folder)[0]]
    return any(figure.name == study and dict(figure.runs) == wanted for figure in figures)


def study_arguments(asked: Study, names: dict[str, str], seed: int) -> list[str]:
    """Write a study as a command's arguments: of each recipe the suite's first seed."""
    arguments = [asked.study]
    arguments += [f"{names[name]}/seed-{seed}" if name in names else name for name in asked.models]
    for key, value in asked.options.items():
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            arguments += [flag] if value else []
        else:
            arguments += [flag, typed_value(value)]
    return arguments


def _key(arguments: Sequence[str], runs: Sequence[str]) -> str:
    """Identify a study by its command and the weights that it looks into."""
    weights = []
    for name in runs:
        folder = RunFolder(runs_dir() / name)
        weights.append(folder.read_record().weights_sha256 if folder.record_file.exists() else "")
    return sha256(json.dumps([list(arguments), weights]).encode()).hexdigest()
