"""List plugins by name, and whether their data are at hand: answered from tables, without importing them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vaebench.adapters import ADAPTERS
from vaebench.core.errors import UserError
from vaebench.core.paths import data_dir, hub_dir, weights_dir
from vaebench.core.registry import Entry, Registry, did_you_mean, docstring_of
from vaebench.datasets import DATASETS
from vaebench.metrics import METRICS
from vaebench.models import MODELS, RECIPES
from vaebench.perceptual import PERCEPTUAL

Tables = Mapping[str, Mapping[str, Sequence[Entry]]]  # kind -> name -> who claims it


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One plugin; ``state`` is ``ready``, or what is in the way and the command that mends it."""

    kind: str
    name: str
    summary: str
    origin: str
    state: str


def listing(kind: str | None = None) -> list[Line]:
    """List everything of one kind, or of all."""
    if kind is not None and kind not in KINDS:
        raise UserError(f"nothing is listed under '{kind}': {did_you_mean(kind, KINDS)}")
    tables = {name: registry.entries() for name, registry in KINDS.items()}
    return [line for name in ([kind] if kind else list(KINDS)) for line in _lines(name, tables)]


def as_dicts(lines: list[Line]) -> list[dict[str, str]]:
    """Convert lines for ``--json``."""
    return [asdict(line) for line in lines]


def _lines(kind: str, tables: Tables) -> Iterator[Line]:
    for name, claims in tables[kind].items():
        origin = " and ".join(claim.origin for claim in claims)
        state = _obstacle(kind, name, claims, tables) or "ready"
        yield Line(kind=kind, name=name, summary=_summary(claims[0]), origin=origin, state=state)


def _summary(entry: Entry) -> str:
    """Describe an entry: a plugin's by its docstring, or by its package's summary where it has none."""
    return entry.summary if entry.origin == "built-in" else docstring_of(entry.target) or entry.summary


def _obstacle(kind: str, name: str, claims: Sequence[Entry], tables: Tables) -> str:
    """Say what an entry lacks, itself or through what it needs; empty if nothing."""
    if len(claims) > 1:
        return f"name clash on {name}: uninstall or rename one"
    entry = claims[0]
    if entry.origin != "built-in":
        return "not checked (a plugin says so itself when it runs)"
    places = (weights_dir(), hub_dir()) if kind == "perceptual" else (data_dir(),)
    missing = "weights" if kind == "perceptual" else "data"
    for file in entry.files:
        names = [spelling for one in file.split("|") for spelling in (one, f"{one}.gz")]
        if not any((place / spelling).exists() for place in places for spelling in names):
            return f"{missing} missing: {entry.mend or f'vaebench fetch {name}'}"
    for need in entry.needs:
        needed_kind, _, needed = need.partition(":")
        obstacle = _obstacle(needed_kind, needed, tables[needed_kind][needed], tables)
        if obstacle:
            return obstacle
    return ""


KINDS: dict[str, Registry[Any]] = {
    "recipes": RECIPES,
    "models": MODELS,
    "datasets": DATASETS,
    "metrics": METRICS,
    "perceptual": PERCEPTUAL,
    "adapters": ADAPTERS,
}
