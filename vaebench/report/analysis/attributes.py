"""Compare accuracies of linear classifiers of latents with baselines and published tables: ``attributes.csv``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from vaebench import statistics
from vaebench.core.results import Result
from vaebench.core.subjects import BASELINE
from vaebench.metrics import facts_of
from vaebench.report.analysis.formatting import short, to_markdown
from vaebench.report.analysis.measured import Measured
from vaebench.report.analysis.published_attributes import TABLE, PublishedRow, read_published

MEAN = "mean of all"
PART = "attribute="
STUDY = "attributes"  # of the metrics that stand here
MEASURED = "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method's accuracy on one attribute, or its mean over them; ``None`` is an empty cell. Shares, not percent.

    The interval is Wilson's over the tested images where one checkpoint was measured, Student's over training seeds
    where there are several. ``majority`` is what always naming the training images' majority class scores.
    """

    dataset: str
    split: str
    attribute: str
    method: str
    protocol: str
    source: str
    seeds: int
    n: int | None
    accuracy: float | None
    ci_low: float | None
    ci_high: float | None
    balanced_accuracy: float | None
    majority: float | None
    lift: float | None
    note: str


def rows(measured: Measured, published: Path) -> list[Row]:
    """List the measured methods (of digits, their classes' mean), then published ones if the data are CelebA's."""
    parts: dict[tuple[str, str, str], dict[str, list[Result]]] = {}
    for line in measured.results:
        facts = facts_of(line)
        if facts.study == STUDY and (line.stratum.startswith(PART) or line.stratum == "all"):
            attribute = line.stratum.removeprefix(PART) if line.stratum != "all" else MEAN
            kinds = parts.setdefault((line.protocol, line.recipe, attribute), {})
            kinds.setdefault(facts.column, []).append(line)
    if not parts:
        return []
    found = [_measured(key, kinds) for key, kinds in parts.items() if "accuracy" in kinds]
    return found + [row for entry in _published(measured, published) for row in _printed(measured, entry)]


def _measured(key: tuple[str, str, str], kinds: Mapping[str, Sequence[Result]]) -> Row:
    protocol, recipe, attribute = key
    lines = kinds["accuracy"]
    values = [line.value for line in lines if line.value is not None]
    accuracy, lift = _mean(lines), _mean(kinds.get("lift", ()))
    low = high = None
    n = max(line.n for line in lines)
    if len(values) > 1:
        _, _, low, high = statistics.mean_interval(values)
    elif accuracy is not None and attribute != MEAN:
        interval = stats.binomtest(round(accuracy * n), n).proportion_ci(method="wilson")
        low, high = float(interval.low), float(interval.high)
    elif accuracy is not None and lines[0].std_error is not None:  # images' means over attributes: no shares
        low, high = accuracy - 1.96 * lines[0].std_error, accuracy + 1.96 * lines[0].std_error
    return Row(
        dataset=lines[0].dataset,
        split=lines[0].split,
        attribute=attribute,
        method=recipe.removeprefix(BASELINE),
        protocol=protocol,
        source=MEASURED,
        seeds=sum(line.seed is not None for line in lines),
        n=n,
        accuracy=accuracy,
        ci_low=low,
        ci_high=high,
        balanced_accuracy=_mean(kinds.get("balanced_accuracy", ())),
        majority=None if accuracy is None or lift is None else accuracy - lift,
        lift=lift,
        note="; ".join(sorted({line.note for line in lines if line.note})),
    )


def _mean(lines: Iterable[Result]) -> float | None:
    values = [line.value for line in lines if line.value is not None]
    return sum(values) / len(values) if values else None


def _published(measured: Measured, folder: Path) -> list[PublishedRow]:
    path = folder / TABLE
    return read_published(path) if measured.dataset.startswith("celeba") and path.exists() else []


def _printed(measured: Measured, entry: PublishedRow) -> list[Row]:
    cells = {MEAN: entry.average_printed, **entry.accuracies}
    return [
        Row(
            dataset=measured.dataset,
            split=measured.results[0].split,
            attribute=attribute,
            method=entry.method,
            protocol=entry.protocol,
            source=entry.source,
            seeds=0,
            n=None,
            accuracy=accuracy,
            ci_low=None,
            ci_high=None,
            balanced_accuracy=None,
            majority=None,
            lift=None,
            note=entry.note if attribute == MEAN else "",
        )
        for attribute, accuracy in cells.items()
    ]


def section(table: Sequence[Row], measured: Measured) -> list[str]:
    """Format the page's part: means of every method and protocol, then each attribute under the official protocol."""
    if not table:
        return []
    note = measured.results[0].provenance.data_note
    caveat = f" Ours: {note}." if note else ""
    each = any(row.attribute != MEAN for row in table)
    what = "attribute" if each else "class"
    lead = (
        f"Linear SVMs on posterior means, one for each {what}; accuracies in percent. Lift is over always naming the "
        "training images' majority class; balanced accuracy weights all classes alike."
    )
    printed = (
        " Published rows are as printed, of other images and other training (their protocols: attributes.csv)."
        if _printed_any(table)
        else ""
    )
    parts = ["## What can be read off the latents\n", f"{lead}{printed}{caveat}\n", _means(table)]
    parts += [_each(table)] if each else []
    said: dict[str, list[str]] = {}
    for row in table:
        if row.attribute == MEAN and row.note:
            said.setdefault(("n/a, " if row.accuracy is None else "") + row.note, []).append(row.method)
    return [*parts, "".join(f"- {', '.join(dict.fromkeys(names))}: {note}\n" for note, names in said.items())]


def _printed_any(table: Sequence[Row]) -> bool:
    return any(row.source != MEASURED for row in table)


def _percent(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}"


def _means(table: Sequence[Row]) -> str:
    body = []
    for row in (row for row in table if row.attribute == MEAN and row.accuracy is not None):
        interval = "" if row.ci_low is None else f" [{_percent(row.ci_low)}, {_percent(row.ci_high)}]"
        ours = row.source == MEASURED
        protocol, source = (row.protocol, row.source) if ours else ("as printed", row.source.partition(":")[0])
        cells = [_percent(row.accuracy) + interval]
        cells += [_percent(row.balanced_accuracy), _percent(row.lift), "" if row.n is None else short(row.n)]
        body.append([row.method, protocol, source, *cells])
    return to_markdown(["method", "protocol", "source", "mean accuracy [95 %]", "balanced", "lift", "images"], body)


def _each(table: Sequence[Row]) -> str:
    """Lay out a row an attribute; columns are methods with a value: the majority class, ours, baselines, published
    ones.
    """
    shown = [row for row in table if row.accuracy is not None and (row.protocol == "official" or row.n is None)]
    methods = list(dict.fromkeys(row.method for row in shown))
    attributes = list(dict.fromkeys(row.attribute for row in shown if row.attribute != MEAN))
    cell = {(row.method, row.attribute): _percent(row.accuracy, 1) for row in shown}
    body = [[name, *(cell.get((method, name), "") for method in methods)] for name in [*attributes, MEAN]]
    return to_markdown(["attribute", *methods], body)
