"""Lay out the page's plain sortable tables: cost, training, attributes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vaebench.core import questions
from vaebench.core.setting_names import order_of
from vaebench.core.subjects import is_baseline, is_real, title_of
from vaebench.report import compute_wording
from vaebench.report.analysis import attributes, equal_compute, latent_space
from vaebench.report.analysis.formatting import plain
from vaebench.report.analysis.leaderboard import Row
from vaebench.report.analysis.measured import Measured
from vaebench.report.html.wording import reading_order, run_name, sortable

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HtmlCell:
    """Text of a cell, and the number it is sorted by, if it is one."""

    text: str
    sort: str = ""
    badge: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HtmlTable:
    """A table whose columns sort its rows; the first column stays in sight."""

    head: Sequence[str]
    rows: Sequence[Sequence[HtmlCell]]
    under: Sequence[str] = ()  # a second line of each head, where there is one

    @property
    def numeric(self) -> list[bool]:
        """Tell which columns hold numbers: their heads stand on the right, as their cells do."""
        return [any(row[column].sort for row in self.rows) for column in range(len(self.head))]


def _number(value: float | None, text: str | None = None) -> HtmlCell:
    return HtmlCell(text=("" if value is None else plain(value)) if text is None else text, sort=sortable(value))


def cost(ranked: Sequence[Row], models: Sequence[str]) -> HtmlTable | None:
    """Lay out models as rows, what each cost as columns."""
    cells: dict[tuple[str, str], dict[str, Row]] = {}
    for row in ranked:
        if row.facts.question == questions.COST and row.stratum == "all" and row.value is not None:
            cells.setdefault((row.metric, row.protocol), {})[row.recipe] = row
    keys = sorted(cells, key=lambda key: reading_order(next(iter(cells[key].values()))))
    names = [name for name in models if not is_real(name) and any(name in row_of for row_of in cells.values())]
    if not names:
        return None
    head = [_headed(metric, next(iter(cells[metric, protocol].values())).unit) for metric, protocol in keys]
    under = ["", *(protocol for _, protocol in keys)]
    body = []
    for name in names:
        values = [cells[key][name].value if name in cells[key] else None for key in keys]
        body.append([HtmlCell(text=name), *map(_number, values)])
    return HtmlTable(head=["model", *head], rows=body, under=under)


def _headed(metric: str, unit: str) -> str:
    """Return a metric's name, and its unit if the name does not say it."""
    name = metric.replace("_", " ")
    return name if unit in name.split() else f"{name}, {unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeTables:
    """What trainings cost, which models none beats at which cost, and each metric by name at parts of the trainings."""

    reading: str
    costs: HtmlTable
    unbeaten: Sequence[str]
    metrics: Sequence[tuple[str, HtmlTable]]


def compute(table: Sequence[equal_compute.Row]) -> ComputeTables | None:
    """Lay out quality against the compute of training; None where nothing was measured at a snapshot."""
    if not table:
        return None
    metrics = []
    for cells in equal_compute.by_metric(table):
        header, body = compute_wording.values(cells)
        metrics.append((compute_wording.what(cells[0]), _plain(header, body)))
    return ComputeTables(
        reading=compute_wording.READING,
        costs=_plain(compute_wording.COSTS, compute_wording.costs(table)),
        unbeaten=compute_wording.unbeaten(table),
        metrics=metrics,
    )


def _plain(header: Sequence[str], body: Sequence[Sequence[str]]) -> HtmlTable:
    """Lay out a table of texts; numbers at their beginning sort them."""
    return HtmlTable(head=header, rows=[[HtmlCell(text=row[0]), *map(_leading, row[1:])] for row in body])


def _leading(text: str) -> HtmlCell:
    found = _NUMBER.match(text.replace(",", ""))
    return HtmlCell(text=text, sort=sortable(float(found[0])) if found else "")


def training(measured: Measured) -> HtmlTable | None:
    """Lay out how each run was trained."""
    body = []
    for (recipe, seed), record in sorted(
        measured.records.items(), key=lambda item: (order_of(item[0][0]), str(item[0][1]))
    ):
        compute, facts = record.compute, record.training_facts()
        body.append(
            [
                HtmlCell(text=run_name(recipe, seed)),
                _number(record.images, f"{record.images:,}"),
                _number(record.batch_size, str(record.batch_size)),
                _number(record.steps, f"{record.steps:,}"),
                _number(facts.seconds, f"{facts.seconds:,.0f}"),
                _number(facts.images_per_second, f"{facts.images_per_second:,.0f}"),
                HtmlCell(text=str(compute["precision"])),
                _number(float(compute["threads"]), str(compute["threads"])),
                HtmlCell(text=record.created[:10]),
                HtmlCell(text=f"{compute['device']}: {compute['machine']}"),
                HtmlCell(text=record.weights_sha256[:12]),
            ]
        )
    head = ["run", "images", "batch", "steps", "seconds", "images/s", "precision", "threads", "begun", "machine"]
    return HtmlTable(head=[*head, "weights sha256"], rows=body) if body else None


def _percent(value: float | None, digits: int = 2) -> HtmlCell:
    return _number(value, "" if value is None else f"{100 * value:.{digits}f}")


def attribute_means(probed: Sequence[attributes.Row]) -> HtmlTable | None:
    """Lay out every method's mean over attributes (of digits, classes), published ones too."""
    body = []
    for row in (row for row in probed if row.attribute == attributes.MEAN and row.accuracy is not None):
        ours = row.source == attributes.MEASURED
        ends = "" if row.ci_low is None or row.ci_high is None else f"{100 * row.ci_low:.2f} to {100 * row.ci_high:.2f}"
        body.append(
            [
                HtmlCell(text=row.method, title=row.note),
                HtmlCell(text="measured here" if ours else row.source.partition(":")[0]),
                HtmlCell(text=row.protocol if ours else "as printed", title=row.protocol),
                _percent(row.accuracy),
                HtmlCell(text=ends, sort=sortable(row.ci_low)),
                _percent(row.balanced_accuracy),
                _percent(row.lift),
                HtmlCell(text="" if row.n is None else f"{row.n:,}", sort=sortable(row.n)),
            ]
        )
    head = ["method", "source", "protocol", "mean accuracy, %", "95 % interval", "balanced, %", "lift, %", "images"]
    return HtmlTable(head=head, rows=body) if body else None


def attribute_each(probed: Sequence[attributes.Row]) -> HtmlTable | None:
    """Lay out a row an attribute, a column a method, under the official protocol; None if there are no attributes."""
    shown = [row for row in probed if row.accuracy is not None and (row.protocol == "official" or row.n is None)]
    methods = list(dict.fromkeys(row.method for row in shown))
    names = list(dict.fromkeys(row.attribute for row in shown if row.attribute != attributes.MEAN))
    if not names:
        return None
    cells = {(row.method, row.attribute): row.accuracy for row in shown}
    body = [
        [HtmlCell(text=name), *(_percent(cells.get((method, name)), 1) for method in methods)]
        for name in [*names, attributes.MEAN]
    ]
    return HtmlTable(head=["attribute", *methods], rows=body)


def studies(studied: Sequence[latent_space.Row]) -> list[tuple[latent_space.Study, HtmlTable]]:
    """Lay out latent-space studies, a table each."""
    return [
        (
            table.study,
            HtmlTable(
                head=table.head,
                rows=[[HtmlCell(text=text, sort=sortable(value)) for text, value in line] for line in table.cells],
            ),
        )
        for table in latent_space.laid_out(studied)
    ]


def notes(probed: Sequence[attributes.Row]) -> list[str]:
    """List notes on methods, once each."""
    said: dict[str, list[str]] = {}
    for row in probed:
        if row.attribute == attributes.MEAN and row.note:
            said.setdefault(("n/a, " if row.accuracy is None else "") + row.note, []).append(row.method)
    return [f"{', '.join(dict.fromkeys(title_of(name) for name in names))}: {note}" for note, names in said.items()]


def without_value(ranked: Sequence[Row]) -> list[str]:
    """List why cells read n/a: each reason once, with the models and metrics it concerns."""
    missing: dict[str, dict[str, list[str]]] = {}
    for row in ranked:
        if row.value is None and row.note and row.stratum == "all" and not is_baseline(row.recipe):
            metrics = missing.setdefault(row.note, {}).setdefault(title_of(row.recipe), [])
            metrics += [row.metric] if row.metric not in metrics else []
    return [
        f"{note}: " + "; ".join(f"{name} ({', '.join(metrics)})" for name, metrics in found.items())
        for note, found in missing.items()
    ]
