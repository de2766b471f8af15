"""Lay out the latent-space studies as tables: ``latent_space.csv``, and the pages' tables.

The values are metrics' and stand in the leaderboard, too. Here the conditions under which each was taken (an attribute,
a weight, a shift) are laid side by side, which a leaderboard of one row a condition does not show.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from fractions import Fraction

from vaebench.core.results import PARTS, Result
from vaebench.core.setting_names import order_of
from vaebench.core.subjects import is_baseline, is_model, is_real, title_of
from vaebench.report.analysis import attributes, leaderboard
from vaebench.report.analysis.formatting import HIDDEN, short, to_markdown, to_text
from vaebench.report.analysis.measured import all_folders, collect
from vaebench.runs.record import RunFolder

MEAN = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A table: its title, what a reader must know of it, and its columns; which metric is in one, the metric says."""

    name: str
    title: str
    says: str
    columns: tuple[str, ...]
    across: bool = False  # conditions are columns, not rows


STUDIES = (
    Study(
        name="interpolation",
        title="On the way between two images",
        says=(
            "Straight lines between posterior means of test images of different classes: how many classes appear on "
            "the way (a path's mean) that neither image is, as the data's classifier sees it. Smoothness: largest step "
            "of the pixels over the mean step, between prior draws."
        ),
        columns=("surprising classes", "largest / mean step"),
    ),
    Study(
        name="manipulation",
        title="An attribute added",
        says=(
            "The attribute's direction is added once to the latents of test images that lack it, and a classifier that "
            "no model has seen reads the result. Effect: what its probability of the attribute gains. Leakage: how far "
            "its probabilities of all other attributes move. Identity: how far the face moves by eigenfaces, 1 being "
            "the distance between two persons as the model draws them. Background: change of the picture's corners, "
            "1 being the difference between two images as it draws them. Read effect beside its costs: who changes "
            "nothing leaks nothing."
        ),
        columns=("effect", "leakage", "identity", "background"),
    ),
    Study(
        name="blending",
        title="Two images blended",
        says=(
            "The same pairs of test images, blended in latent space by each model and in pixels by the classical ways. "
            "Realism (Kynkäänniemi et al. 2019): the largest ratio of a real image's neighbourhood to the blend's "
            "distance from it, its own two images left out; nearer to the originals' value is better, and above it "
            "lies what is more average than real images are. Adversary: share of real images that the model's own "
            "discriminator or critic takes less for real. Columns: the weight of the second image."
        ),
        columns=("realism", "adversary"),
        across=True,
    ),
    Study(
        name="shift",
        title="Faces out of place",
        says=(
            "Linear SVMs fitted on the latents of training images, asked about test faces that were moved, scaled or "
            "turned: mean accuracy over the attributes, plain, and put back by their eyes, where these are found. "
            "Majority class: what always naming it scores on these faces. Flagged: "
            "share of faces that the model's reconstruction error or latent norm calls unlike the data."
        ),
        columns=("accuracy", "flagged"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One value; ``condition`` is ``all`` for the mean over conditions, or the metric's main one."""

    dataset: str
    split: str
    study: str
    condition: str
    recipe: str
    metric: str
    protocol: str
    unit: str
    direction: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    seeds: int
    n: int
    note: str
    column: str = field(default="", metadata=HIDDEN)


def rows(ranked: Iterable[leaderboard.Row]) -> list[Row]:
    """Take the leaderboard's rows that studies measured, by study; strata of the images are left out."""
    found = [
        Row(
            dataset=row.dataset,
            split=row.split,
            study=row.facts.study,
            condition=_condition(row.stratum),
            recipe=row.recipe,
            metric=row.metric,
            protocol=row.protocol,
            unit=row.unit,
            direction=row.direction,
            value=row.value,
            ci_low=row.ci_low,
            ci_high=row.ci_high,
            seeds=row.seeds,
            n=row.n,
            note=row.note,
            column=row.facts.column,
        )
        for row in ranked
        if row.facts.study not in ("", attributes.STUDY) and (row.stratum == MEAN or row.stratum.startswith(PARTS))
    ]
    order = [study.name for study in _studies(found)]
    return sorted(found, key=lambda row: order.index(row.study))


def _studies(table: Iterable[Row]) -> list[Study]:
    """List vaebench's own studies, then those of plugins' metrics, which have only a name."""
    own = {study.name for study in STUDIES}
    others = sorted({row.study for row in table} - own)
    return [*STUDIES, *(Study(name=name, title=name.capitalize(), says="", columns=()) for name in others)]


def _condition(stratum: str) -> str:
    for prefix in PARTS:
        stratum = stratum.removeprefix(prefix)
    return stratum


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One study laid out: heads, and cells as text beside the value each is sorted by, where it is a number."""

    study: Study
    head: Sequence[str]
    cells: Sequence[Sequence[tuple[str, float | None]]]


def laid_out(table: Sequence[Row]) -> list[Table]:
    """Lay out a table for each study that has values."""
    return [
        _table(study, [row for row in table if row.study == study.name])
        for study in _studies(table)
        if any(row.study == study.name and row.value is not None for row in table)
    ]


def _table(study: Study, table: Sequence[Row]) -> Table:
    """Lay out one study: rows are a condition and a model; columns are metrics and protocols, or conditions too if they
    go across.
    """
    valued = [row for row in table if row.value is not None]
    multiple = {row.condition for row in valued} != {MEAN}
    columns = dict.fromkeys(_column(study, row, valued) for row in valued)
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in valued:
        lines.setdefault(_line(study, row), {})[_column(study, row, valued)] = row
    ordered = sorted(columns, key=lambda text: (_position(study, text.split(",")[0]), text))
    wide = study.across or not multiple
    cells = []
    conditions = sorted({condition for condition, _ in lines}, key=natural)
    for (condition, recipe), known in sorted(lines.items(), key=lambda item: _place(item[0], conditions)):
        words = [(_title(recipe), None)] if wide else [(_title(condition), None), (_title(recipe), None)]
        cells.append([*words, *(_cell(known.get(column)) for column in ordered)])
    return Table(study=study, head=[*(["model"] if wide else ["what", "model"]), *ordered], cells=cells)


def _position(study: Study, column: str) -> int:
    return study.columns.index(column) if column in study.columns else len(study.columns)


def natural(condition: str) -> tuple[bool, bool, str, float]:
    """Sort key of conditions: the mean, the untouched images, then names and numbers, 1/16 before 1/8."""
    name, _, last = condition.rpartition(" ")
    try:
        return condition != MEAN, condition != "untouched", name, float(Fraction(last))
    except ValueError:
        return condition != MEAN, condition != "untouched", condition, 0.0


def _place(line: tuple[str, str], conditions: Sequence[str]) -> tuple[object, ...]:
    """Sort key: by condition; in each the originals first, models, then baselines that learnt nothing."""
    condition, recipe = line
    return conditions.index(condition), 0 if is_real(recipe) else 1 + is_baseline(recipe), order_of(recipe)


def _line(study: Study, row: Row) -> tuple[str, str]:
    return ("" if study.across else row.condition, row.recipe)


def _column(study: Study, row: Row, table: Sequence[Row]) -> str:
    """Name a column: the metric; its protocol if it has several; the condition where conditions go across."""
    head = row.column or row.metric
    protocols = {other.protocol for other in table if other.metric == row.metric}
    common = set.intersection(*(set(protocol.split("/")) for protocol in protocols))
    apart = [word for word in row.protocol.split("/") if word not in common]
    parts = [head, *(["/".join(apart)] if len(protocols) > 1 and apart else [])]
    if study.across and any(other.condition != MEAN for other in table if other.metric == row.metric):
        parts.append("weight 0.5" if row.condition == MEAN else row.condition)
    return ", ".join(parts)


def _title(name: str) -> str:
    if name == MEAN:
        return "mean of all"
    return title_of(name).replace("_", " ")


def _cell(row: Row | None) -> tuple[str, float | None]:
    if row is None or row.value is None:
        return "", None
    half = None if row.ci_low is None or row.ci_high is None else (row.ci_high - row.ci_low) / 2
    return short(row.value) + ("" if half is None else f" ± {short(half)}"), row.value


def _asked(line: Result, metrics: Sequence[str], recipes: Set[str]) -> bool:
    return line.metric in metrics and (not is_model(line.recipe) or line.recipe in recipes)


def section(table: Sequence[Row]) -> list[str]:
    """Format the Markdown page's section; empty if nothing was studied."""
    found = laid_out(table)
    parts = ["## What can be done in latent space\n"] if found else []
    for one in found:
        body = [[text for text, _ in line] for line in one.cells]
        says = [f"{one.study.says}\n"] if one.study.says else []
        parts += [f"### {one.study.title}\n", *says, to_markdown(one.head, body)]
    if found:
        parts.append("Values ± half of the 95 % interval; latent_space.csv has all of them.\n")
    return parts


def lines_of(dataset: str, metrics: Sequence[str], folders: Sequence[RunFolder], recipes: Set[str]) -> list[str]:
    """Format the tables of these metrics for a terminal: of the named recipes, and of baselines that learnt nothing.

    From all that was measured on a dataset, ``folders`` outside ``VAEBENCH_RUNS`` included.
    """
    lines = []
    known = {folder.path.resolve(): folder for folder in (*all_folders(), *folders)}
    for part in collect(dataset, known.values()).parts():
        chosen = replace(part, results=[line for line in part.results if _asked(line, metrics, recipes)])
        for table in laid_out(rows(leaderboard.leaderboard(chosen, []))):
            body = [[text for text, _ in line] for line in table.cells]
            lines += ["", table.study.title, *to_text(table.head, body)]
    return [*lines, ""] if lines else []
