"""What there is, by name, and whether its data are at hand: answered from tables, nothing is imported."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from vaebench.builtins import KINDS
from vaebench.core.errors import UserError
from vaebench.core.places import data_dir
from vaebench.core.registry import Entry, did_you_mean

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
    """Everything of one kind, or of all."""
    if kind is not None and kind not in KINDS:
        raise UserError(f"nothing is listed under '{kind}': {did_you_mean(kind, KINDS)}")
    tables = {name: registry.entries() for name, registry in KINDS.items()}  # each scans all installed packages
    return [line for name in ([kind] if kind else list(KINDS)) for line in _lines(name, tables)]


def as_dicts(lines: list[Line]) -> list[dict[str, str]]:
    """For ``--json``."""
    return [asdict(line) for line in lines]


def _lines(kind: str, tables: Tables) -> Iterator[Line]:
    for name, claims in tables[kind].items():
        origin = " and ".join(claim.origin for claim in claims)
        state = _obstacle(name, claims, tables) or "ready"
        yield Line(kind=kind, name=name, summary=claims[0].summary, origin=origin, state=state)


def _obstacle(name: str, claims: Sequence[Entry], tables: Tables) -> str:
    """What is in an entry's way, itself or through what it needs; empty where nothing."""
    if len(claims) > 1:
        return f"name clash on {name}: uninstall or rename one"
    entry = claims[0]
    if entry.origin != "built-in":
        return "not checked (a plugin says so itself when it runs)"
    for file in entry.files:
        if not any((data_dir() / candidate).is_file() for candidate in (file, f"{file}.gz")):
            return f"data missing: vaebench fetch {name}"
    for need in entry.needs:
        kind, _, needed = need.partition(":")
        obstacle = _obstacle(needed, tables[kind][needed], tables)
        if obstacle:
            return obstacle
    return ""
