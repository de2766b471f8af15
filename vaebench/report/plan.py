"""Say how many training seeds and images would decide between two recipes, and what they would cost here."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from vaebench import statistics
from vaebench.core.errors import UserError
from vaebench.core.margin import read_margin
from vaebench.core.registry import did_you_mean
from vaebench.core.setting_names import HASHED, without_setting
from vaebench.report.analysis.comparisons import ALPHA, Row, all_pairs, decisive, verdict_in_words
from vaebench.report.analysis.formatting import short
from vaebench.report.analysis.measured import Measured, all_folders, collect, datasets_measured
from vaebench.report.analysis.needed_seeds import MOST, family_size, pair_of, parts_of
from vaebench.report.analysis.pair_tests import CHECKPOINTS
from vaebench.report.analysis.samples import Sample
from vaebench.runs.recipe_files import is_file_reference

TOO_FEW = "neither has two training seeds, which would say how much seeds differ: train a second seed of one of them"

NO_SEEDS = (
    "were not trained here and have no seeds to plan: measure more images, or give seeds as --name NAME@0, NAME@1"
)

HEADER = ("dataset", "protocol", "verdict", "difference to show", "power now", "seeds each for it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would decide between two recipes: a row a dataset and protocol under :data:`HEADER`, and what to type."""

    rows: Sequence[Sequence[str]]
    lines: Sequence[str]


def plan(a: str, b: str, metric: str, *, margin: str = "", power: float = 0.8) -> Plan:
    """Plan the seeds and images that would decide between two recipes.

    Args:
        a, b: recipes that were measured on a dataset in common.
        metric: name of the metric.
        margin: the difference to be shown, ``0.01`` or ``5%`` of the two values' mean; empty for the one measured.
        power: probability with which a true difference of that size is to be shown.

    Returns:
        A row a protocol, and the commands to type.

    Raises:
        UserError: the recipes or the metric were not measured, neither has a training seed, or a number is out of its
            range.
    """
    if not 0 < power < 1:
        raise UserError(f"--power {power:g} is no probability: give a number between 0 and 1, such as 0.8")
    wanted = read_margin(margin, "--margin")
    body: list[list[str]] = []
    commands: list[str] = []
    known: set[str] = set()
    for dataset in datasets_measured(all_folders()):
        measured = collect(dataset, all_folders())
        if not {a, b} <= set(measured.recipes()):
            continue
        rows = all_pairs(measured)
        known |= {row.metric for row in rows if {row.a, row.b} == {a, b}}
        for row in decisive(rows):
            if row.metric == metric and row.stratum == "all" and {row.a, row.b} == {a, b}:
                pair = sorted(pair_of(measured, row), key=lambda sample: sample.name != a)
                if all(sample.fixed for sample in pair):
                    raise UserError(f"{a} and {b} {NO_SEEDS}")
                size = wanted.of(_middle(pair)) if wanted else abs(row.mean_difference)
                alpha = ALPHA / family_size(row, rows)
                body.append([dataset, row.protocol, *_planned(pair, row, size, power, alpha)])
                commands += _commands(measured, pair, body[-1][-1])
                commands += _seed_by_seed(measured, a, b, row)
    if not body:
        hint = did_you_mean(metric, known) if known else "evaluate both on one split"
        raise UserError(f"{a} and {b} were not both measured by '{metric}': {hint}")
    goal = f"Power: how often a true difference of that size is shown; aim {100 * power:.0f} %."
    few = [f"{a} and {b}: {TOO_FEW}"] if any(line[-1] == "unknown" for line in body) else []
    return Plan(rows=body, lines=[goal, *few, *dict.fromkeys(commands)])


def _middle(pair: Sequence[Sample]) -> float:
    return sum(abs(float(sample.values.mean())) for sample in pair) / 2


def _planned(pair: Sequence[Sample], row: Row, size: float, power: float, alpha: float) -> list[str]:
    """Return verdict, difference, power now and seeds needed, as text."""
    verdict = verdict_in_words(row)
    if row.note in CHECKPOINTS:
        return [verdict, short(size), "unknown", "unknown"]
    parts = parts_of(pair)
    images = min(sample.values.shape[1] for sample in pair)
    now = min(len(sample.values) for sample in pair if not sample.fixed)
    power_now = statistics.planned_power(parts, now, images, size, alpha) if now > 1 else None
    needed = statistics.seeds_needed(parts, images, size, power, alpha, MOST)
    more = statistics.seeds_needed(parts, 100 * images, size, power, alpha, MOST)
    seeds = f"more than {MOST}" if needed is None else str(needed)
    if needed is None and more is not None:
        seeds += f"; {more} with 100 times as many images"
    said = "unknown" if power_now is None else f"{100 * power_now:.0f} %"
    return [verdict, short(size), said, seeds]


def _seed_by_seed(measured: Measured, a: str, b: str, row: Row) -> list[str]:
    """Return the command that needs no plan, for a pair of recipes trained here that is open."""
    records = {recipe: record for (recipe, _), record in measured.records.items()}
    if row.verdict != "unresolved" or not {a, b} <= records.keys():
        return []
    shared = [setting for setting in records[a].set_options() if setting in records[b].set_options()]
    keys = [setting.partition("=")[0] for setting in shared]
    sides = [reduce(without_setting, keys, name) for name in (a, b)]  # what both have stands in full behind --set
    if any(HASHED in side for side in sides):
        return []
    files = [records[name].reference for name in (a, b) if is_file_reference(records[name].reference)]
    options = [word for setting in shared for word in ("--set", setting)]
    asked = ["--until-decided", f"{sides[0]},{sides[1]}:{row.metric}", *options]
    return [
        f"{shlex.join(['vaebench', 'train', *dict.fromkeys(files), *asked])}  # or seed by seed, until it is decided"
    ]


def _commands(measured: Measured, pair: Sequence[Sample], seeds: str) -> list[str]:
    """Return the command that trains the missing seeds, with what it costs by the runs' own records."""
    if not seeds.isdigit():
        return []
    lines = []
    for sample in pair:
        have = {seed for recipe, seed in measured.records if recipe == sample.name and seed is not None}
        records = [record for (recipe, _), record in measured.records.items() if recipe == sample.name]
        seconds = [record.training_facts().seconds for record in records]
        missing = [seed for seed in range(int(seeds)) if seed not in have]
        if missing and seconds:
            minutes = len(missing) * sum(seconds) / len(seconds) / 60
            command = shlex.join([*records[0].train_command(), "--seeds", ",".join(map(str, missing))])
            lines.append(f"{command}  # about {minutes:.0f} min, as its runs took")
    return lines
