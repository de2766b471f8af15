"""Find the sweeps among the measured runs: recipes that differ from one another in the value of one setting."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from vaebench.core.errors import UserError
from vaebench.core.setting_names import OF_DATASET, name_with, order_of, order_of_value, own_name, spelled
from vaebench.report.analysis.measured import Measured
from vaebench.runs.record import RunRecord

LARGEST = 1e15  # of a number on an axis: what is beyond stands as a category


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One recipe of a sweep.

    Attributes:
        recipe: its name in the tables.
        value: of the setting, as names spell it.
        number: the value, where it is one.
        steps: of its training.
    """

    recipe: str
    value: str
    number: float | None
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Recipes that have all other settings in common, by the value of the one; ``name`` is theirs without it."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All recipes that were measured under several values of one setting."""

    key: str
    lines: tuple[Line, ...]

    @property
    def points(self) -> list[Point]:
        """Every point of every line."""
        return [point for line in self.lines for point in line.points]

    @property
    def numeric(self) -> bool:
        """Tell whether all values are numbers; otherwise they are categories."""
        return all(point.number is not None for point in self.points)

    @property
    def values(self) -> list[str]:
        """List the values, each once, numbers in their order."""
        return sorted({point.value for point in self.points}, key=order_of_value)


def sweeps(measured: Measured) -> list[Sweep]:
    """Find every setting that some recipe was measured under two or more values of, sorted by its key.

    A recipe with its own settings belongs to the sweep by its own value. Settings of the dataset make other images, on
    which nothing is comparable. Recipes whose seeds were trained differently have no one value, and are left out.
    """
    mixed = measured.mixed()
    records: dict[str, RunRecord] = {}
    for (recipe, _), record in sorted(measured.records.items(), key=str):
        if recipe not in mixed:
            records.setdefault(recipe, record)
    keys = {key for record in records.values() for key in record.settings if not key.startswith(OF_DATASET)}
    found = [Sweep(key=key, lines=_lines(key, records)) for key in sorted(keys)]
    return [sweep for sweep in found if sweep.lines]


def _lines(key: str, records: Mapping[str, RunRecord]) -> tuple[Line, ...]:
    grouped: dict[str, list[Point]] = {}
    for recipe, record in records.items():
        known = record.all_settings()
        others = {name: known[name] for name in record.settings if name != key and name in known}
        if key not in known:  # an earlier version's run, before the setting was there
            continue
        point = Point(recipe=recipe, value=spelled(known[key]), number=_number(known[key]), steps=record.steps)
        with suppress(UserError):  # somebody else's record, whose name leaves no room for the settings it has
            grouped.setdefault(name_with(own_name(recipe), others), []).append(point)
    return tuple(
        Line(name=name, points=tuple(_ordered(points)))
        for name, points in sorted(grouped.items(), key=lambda item: order_of(item[0]))
        if len({point.value for point in points}) > 1
    )


def _ordered(points: Sequence[Point]) -> list[Point]:
    return sorted(points, key=lambda point: (order_of_value(point.value), point.recipe))


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= LARGEST else None  # type: ignore[arg-type]
